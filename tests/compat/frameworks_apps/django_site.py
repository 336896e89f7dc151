"""A Django app for Lambda, as serverless-wsgi's own guide writes it."""

import serverless_wsgi
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse
from django.urls import path

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="guards nothing")


def item(request, item):
    return JsonResponse({"item": item, "q": request.GET.getlist("q"), "t": request.GET["t"]})


def echo(request):
    return HttpResponse(request.body, content_type="application/octet-stream")


def form(request):
    return JsonResponse({"a": request.POST["a"], "b": request.POST["b"]})


def cookies(request):
    response = JsonResponse({"seen": request.COOKIES["seen"]})
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


def teapot(request):
    return HttpResponse("short and stout", status=418, headers={"x-a": "1"})


def fail(request):
    raise RuntimeError("no")


urlpatterns = [
    path("items/<item>", item),
    path("echo", echo),
    path("form", form),
    path("cookies", cookies),
    path("teapot", teapot),
    path("fail", fail),
]
application = get_wsgi_application()


def handler(event, context):
    return serverless_wsgi.handle_request(application, event, context)
