"""tools/web/verify.html in a headless Chromium, used as a person would: fields, files, keys."""

import base64
import os
import shutil
import tempfile
import time
import unittest

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

import common

PAGE = os.path.join(common.TOP, "tools", "web", "verify.html")
ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--disable-background-networking", "--no-first-run", "--hide-scrollbars")
ANSWER_S = 300  # on a machine with much else to do


def start_browser(folder):
    options = Options()
    for argument in (*ARGUMENTS, "--user-data-dir=" + os.path.join(folder, "profile")):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for attempt in range(5):
        try:
            driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
            break
        except WebDriverException:  # it did not come up within its own minute, on a busy machine
            if attempt == 4:
                raise
    driver.set_script_timeout(ANSWER_S)
    return driver


class PageCase(unittest.TestCase):
    """One browser for all, the page anew for each test."""

    driver = None

    @classmethod
    def setUpClass(cls):
        if PageCase.driver is None:
            PageCase.folder = tempfile.mkdtemp(prefix="sealedfs-page.")
            unittest.addModuleCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
            PageCase.driver = start_browser(cls.folder)
            unittest.addModuleCleanup(cls.driver.quit)

    def setUp(self):
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        self.open()

    def tearDown(self):
        complaints = [entry["message"] for entry in self.driver.get_log("browser")
                      if "favicon" not in entry["message"] and "status of 4" not in entry["message"]]
        self.assertEqual(complaints, [], "the browser's console")

    def open(self, address="file://" + PAGE):
        self.driver.get(address)

    def element(self, name):
        return self.driver.find_element("id", name)

    def path(self, name, data=None):
        path = os.path.join(self.folder, name)
        if data is not None:
            with open(path, "wb") as out:
                out.write(data)
        return path

    def type(self, name, text):
        field = self.element(name)
        field.clear()
        field.send_keys(text)

    def expand(self):
        self.driver.execute_script("for (const one of document.querySelectorAll('main details')) one.open = true")

    def give(self, name, *paths):
        """Chooses files and waits until the page has read them."""
        self.element(name).send_keys("\n".join(paths))
        self.wait(lambda: not self.driver.find_elements("css selector", "progress"), "files to be read")

    def wait(self, condition, what):
        end = time.monotonic() + ANSWER_S
        while not condition():
            self.assertLess(time.monotonic(), end, f"waiting for {what}")
            time.sleep(0.02)

    def verdict(self, act):
        """Does act(), which makes the page judge; returns (exit code or None, sentence)."""
        self.driver.execute_script("document.getElementById('result').replaceChildren()")
        act()
        self.wait(lambda: self.driver.find_elements("id", "sentence")
                  and not self.element("busy").is_displayed(), "a verdict")
        code = self.driver.find_element("css selector", "[data-exit]").get_attribute("data-exit")
        return (None if code == "none" else int(code)), self.element("sentence").text

    def steps(self):
        found = self.driver.find_elements("css selector", "[data-step]")
        return {step.get_attribute("data-step"): step.get_attribute("data-status") for step in found}

    def choose(self, path):
        return self.verdict(lambda: self.element("file").send_keys(path))

    def ask(self, address):
        self.type("address", address)
        return self.verdict(self.element("ask-button").click)

    def judge(self, *requests):
        """What the page's code concludes from requests of the form of tests/vectors/verdict."""
        done = self.driver.execute_async_script("""
            const [requests, done] = arguments;
            (async () => {
                const found = [];
                for (const request of requests) {
                    const { exitCode, sentence, steps, members } = await sealedfsVerify.judgeVector(request);
                    found.push({ exitCode, sentence, steps, members });
                }
                return found;
            })().then(done, (failure) => done(String(failure.stack)));""", list(requests))
        self.assertIsInstance(done, list, done)
        return done

    def damaged(self, document, flips):
        """Sentences and exit codes of a document with one bit changed, for each of these bits."""
        return self.driver.execute_async_script("""
            const [document, flips, done] = arguments;
            (async () => {
                const found = [];
                for (const bit of flips) {
                    const bytes = Uint8Array.from(atob(document), (sign) => sign.charCodeAt(0));
                    bytes[bit >> 3] ^= 1 << (bit & 7);
                    const request = { document: btoa(String.fromCharCode(...bytes)), time: 0, time_given: true };
                    const { exitCode, sentence } = await sealedfsVerify.judgeVector(request);
                    found.push([exitCode, sentence]);
                }
                return found;
            })().then(done, (failure) => done(String(failure.stack)));""",
                                                base64.b64encode(document).decode(), flips)

    def show(self, width, scheme):
        """Lays the page out like a screen of this width; returns a picture of the whole of it."""
        run = self.driver.execute_cdp_cmd
        run("Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600})
        run("Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        height = self.driver.execute_script("return document.documentElement.scrollHeight")
        picture = run("Page.captureScreenshot", {
            "format": "png", "captureBeyondViewport": True,
            "clip": {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}})
        return base64.b64decode(picture["data"])
