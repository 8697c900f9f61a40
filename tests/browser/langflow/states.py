"""Every page in each of the states that look different: who sees it, and how one gets there."""

import re

from browser.langflow.pages import Pages
from playwright.async_api import expect


def at(path, heading):
    """A state that is a page's own address; braces in it stand for what the samples have there."""

    async def go(pages, samples):
        await pages.open(path.format(**_ids(samples)))
        await expect(pages.heading(heading)).to_be_visible()

    return go


def _ids(samples):
    return {
        "sample": samples.flows["Sample flow"],
        "model": samples.flows["Ask a model"],
        "credential": samples.variables["MISTRAL_API_KEY"],
        "generic": samples.variables["GREETING"],
        "other": samples.other.id,
        "root": samples.root.id,
    }


async def wrong_password(pages, samples):
    await pages.sign_in(samples.ada.name, "wrong")
    await pages.told("not right")


async def menu(pages, samples):
    await pages.open("/flows")
    await pages.open_menu()
    await expect(pages.button("Sign out")).to_be_visible()


async def answered(pages, samples):
    await pages.open(f"/flows/{samples.flows['Sample flow']}")
    await pages.run("Is anybody there?")


async def failed(pages, samples):
    await pages.open(f"/flows/{samples.flows['Ask a model']}")
    await pages.page.get_by_label("Text").fill("What is a flow?")
    await pages.button("Run").click()
    await pages.told("OPENAI_API_KEY")


async def public(pages, samples):
    """A page that says what was done."""
    await pages.open(f"/flows/{samples.flows['Ask a model']}")
    if await pages.button("Make it private").count():
        await pages.button("Make it private").click()
        await pages.told("private again")
    await pages.button("Make it public").click()
    await pages.told("public now")


async def refused_variable(pages, samples):
    await pages.open("/settings/variables/new")
    await pages.page.get_by_label("Name").fill("GREETING")
    await pages.page.get_by_label("Value").fill("of no use")
    await pages.button("Add variable").click()
    await expect(pages.page.get_by_role("alert")).to_be_focused()


async def refused_user(pages, samples):
    await pages.open("/settings/users/new")
    await pages.page.get_by_label("Name").fill(samples.ada.name)
    await pages.page.get_by_label("Password").fill("of no use")
    await pages.button("Add user").click()
    await pages.told("another user")


async def refused_password(pages, samples):
    await pages.open("/settings/password")
    for label in ("Current password", "New password", "New password, once more"):
        await pages.page.get_by_label(label, exact=True).fill(label)
    await pages.button("Change password").click()
    await pages.told("not the same")


async def deleting(pages, samples):
    await pages.keys.select("Nightly report")
    await pages.button("Delete").click()
    await expect(pages.heading("Delete this key?")).to_be_visible()


async def made(pages, samples):
    await pages.keys.create("Weather station")


STATES = {
    "sign-in": ("nobody", at("/sign-in", "Sign in")),
    "sign-in, refused": ("nobody", wrong_password),
    "flows": ("ada", at("/flows", "Flows")),
    "flows, empty": ("noor", at("/flows", "Flows")),
    "menu": ("ada", menu),
    "flow": ("ada", at("/flows/{sample}", "Sample flow")),
    "flow, answered": ("ada", answered),
    "flow, failed": ("ada", failed),
    "flow, public": ("ada", public),
    "settings": ("ada", at("/settings", "Settings")),
    "keys": ("ada", at("/settings/api-keys/", "Langflow API Keys")),
    "keys, empty": ("noor", at("/settings/api-keys/", "Langflow API Keys")),
    "keys, deleting": ("ada", deleting),
    "new key": ("ada", at("/settings/api-keys/new", re.compile("New"))),
    "new key, made": ("noor", made),
    "variables": ("ada", at("/settings/variables", "Global Variables")),
    "variables, empty": ("noor", at("/settings/variables", "Global Variables")),
    "new variable": ("ada", at("/settings/variables/new", "New variable")),
    "new variable, refused": ("ada", refused_variable),
    "variable, credential": ("ada", at("/settings/variables/{credential}", "MISTRAL_API_KEY")),
    "variable, generic": ("ada", at("/settings/variables/{generic}", "GREETING")),
    "variable, deleting": ("ada", at("/settings/variables/{generic}/delete", re.compile("Delete the variable"))),
    "users": ("root", at("/settings/users", "Users")),
    "new user": ("root", at("/settings/users/new", "New user")),
    "new user, refused": ("root", refused_user),
    "user": ("root", at("/settings/users/{other}", "carla")),
    "user, oneself": ("root", at("/settings/users/{root}", "root")),
    "user, deleting": ("root", at("/settings/users/{other}/delete", re.compile("Delete the user"))),
    "password": ("ada", at("/settings/password", "Password")),
    "password, refused": ("ada", refused_password),
    "not found": ("ada", at("/flows/00000000-0000-0000-0000-000000000000", "Not Found")),
    "forbidden": ("ada", at("/settings/users", "Forbidden")),
}


async def go(state, page, samples):
    """Lead a page of whoever sees it into a state."""
    _, way = STATES[state]
    await way(Pages(page), samples)
