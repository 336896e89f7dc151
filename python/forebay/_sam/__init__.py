"""What a SAM template says: read, expanded, resolved, and compared with what is deployed. Deploys nothing itself."""
