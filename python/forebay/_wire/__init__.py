"""JSON shapes, in and out: Lambda's and the engine's. The only room that knows them."""
