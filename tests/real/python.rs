//! Python's web servers as binders.

use std::fs;

use anyhow::{Context, Result};
use portwatch_tests::programs::python;
use portwatch_tests::stage::skip_without;

use crate::scene::{Binder, Scene, against_made};

/// The founding case's service.
pub(crate) fn flask(scene: &Scene) -> Result<Binder> {
    scene.write(
        "app.py",
        "from flask import Flask\nFlask(__name__).run(host='0.0.0.0', port=60001)\n",
    )?;
    let mut command = scene.command(&tool("python3")?);
    command.arg("app.py");
    Ok(Binder::new(command, "python3", "Address already in use"))
}

/// A dev server without anything to install.
pub(crate) fn http_server(scene: &Scene, port: u16) -> Binder {
    let mut command = scene.command("/usr/bin/python3");
    command.args(["-m", "http.server", &port.to_string()]);
    Binder {
        port,
        ..Binder::new(command, "python3", "Address already in use")
    }
}

pub(crate) fn tool(name: &str) -> Result<String> {
    let path = python(name);
    Ok(path
        .to_str()
        .context("a path that is not UTF-8")?
        .to_owned())
}

/// A scene with one tool of the virtual environment.
pub(crate) fn set(name: &str) -> Result<Option<Scene>> {
    if !fs::exists(python(name))? {
        skip_without(name)?;
        return Ok(None);
    }
    Scene::set(&[])
}

#[test]
fn flask_against_a_made_connection() -> Result<()> {
    let Some(scene) = set("flask")? else {
        return Ok(());
    };
    against_made(&scene, flask(&scene)?)
}

/// The autoreloader runs the server in a child, which binds in a thread.
#[test]
fn django_runserver() -> Result<()> {
    let Some(scene) = set("django-admin")? else {
        return Ok(());
    };
    scene.write(
        "manage.py",
        "import sys\n\
         from django.conf import settings\n\
         settings.configure(DEBUG=True, SECRET_KEY='x', ROOT_URLCONF=__name__)\n\
         urlpatterns = []\n\
         from django.core.management import execute_from_command_line\n\
         execute_from_command_line(sys.argv)\n",
    )?;
    let mut command = scene.command(&tool("python3")?);
    command.args(["manage.py", "runserver", "0.0.0.0:60001"]);
    let binder = Binder {
        by_child: true,
        ..Binder::new(command, "python3", "That port is already in use")
    };
    against_made(&scene, binder)
}

#[test]
fn uvicorn() -> Result<()> {
    let Some(scene) = set("uvicorn")? else {
        return Ok(());
    };
    scene.write("app.py", "async def app(scope, receive, send):\n    pass\n")?;
    let mut command = scene.command(&tool("uvicorn")?);
    command.args(["app:app", "--host", "0.0.0.0", "--port", "60001"]);
    against_made(
        &scene,
        Binder::new(command, "uvicorn", "address already in use"),
    )
}

/// Five tries, a second apart.
#[test]
fn gunicorn_tries_five_times() -> Result<()> {
    let Some(scene) = set("gunicorn")? else {
        return Ok(());
    };
    scene.write("app.py", "def app(environ, start_response):\n    pass\n")?;
    let mut command = scene.command(&tool("gunicorn")?);
    command.args(["--bind", "0.0.0.0:60001", "app:app"]);
    let binder = Binder {
        attempts: 5..=5,
        ..Binder::new(command, "gunicorn", "Connection in use")
    };
    against_made(&scene, binder)
}

/// It takes the next port and goes on.
#[test]
fn jupyter_moves_on() -> Result<()> {
    let Some(scene) = set("jupyter-server")? else {
        return Ok(());
    };
    let mut command = scene.command(&tool("jupyter-server")?);
    command.args([
        "--ip=0.0.0.0",
        "--port=60001",
        "--no-browser",
        "--allow-root",
    ]);
    let binder = Binder {
        how: "other-port",
        ..Binder::new(
            command,
            "jupyter-server",
            "The port 60001 is already in use",
        )
    };
    against_made(&scene, binder)
}

#[test]
fn a_dev_server_on_8080() -> Result<()> {
    let Some(scene) = Scene::set(&["/usr/bin/python3"])? else {
        return Ok(());
    };
    against_made(&scene, http_server(&scene, 8080))
}
