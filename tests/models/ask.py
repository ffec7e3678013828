#!/usr/bin/python3
"""Loads a GGUF with llama.cpp's llama-server and asks it for tokens; prints them with times.

    ask.py --llama DIR --load-mode mmap|none|dio MODEL

The answer is greedy and seeded: the same bytes of weights give the same tokens. As a module,
ask() returns (tokens, seconds until loaded, seconds for the tokens).
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

LAUNCHER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "llama-server")


class LoadFailed(Exception):
    """llama-server did not come up; the text is the end of its log."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(url, data=None, timeout=60):
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=timeout) as answer:
        return json.load(answer)


def wait_until_loaded(server, base, log_path, deadline_s):
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        try:
            get(base + "/health", timeout=5)
            return
        except (urllib.error.URLError, OSError, ValueError):
            time.sleep(0.02)
    with open(log_path, encoding="utf-8", errors="replace") as log:
        raise LoadFailed("exit code %s\n%s" % (server.poll(), "".join(log.readlines()[-15:])))


def start(llama, model, load_mode, port, log, before=(), env=None):
    """before: words of a program that starts the server."""
    return subprocess.Popen(
        [*before, LAUNCHER, "run", llama, "--model", model, "--host", "127.0.0.1", "--port", str(port),
         "--no-webui", "--offline", "-c", "256", "-np", "1", "-t", "2", "--load-mode", load_mode],
        stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=env)


def ask(llama, model, load_mode, log_path=os.devnull, tokens=16, deadline_s=300, before=(), env=None, **request):
    """before, env: as start(). request: members of llama-server's /completion that differ from ours."""
    for _ in range(5):
        try:
            return ask_once(llama, model, load_mode, log_path, tokens, deadline_s, request, before, env)
        except LoadFailed as failure:
            if "couldn't bind" not in str(failure):  # somebody else has taken the port meanwhile
                raise
    raise LoadFailed("no free port")


def ask_once(llama, model, load_mode, log_path, tokens, deadline_s, request, before=(), env=None):
    port = free_port()
    base = "http://127.0.0.1:%d" % port
    started = time.monotonic()
    with open(log_path, "wb") as log:
        server = start(llama, model, load_mode, port, log, before, env)
        try:
            wait_until_loaded(server, base, log_path, deadline_s)
            loaded = time.monotonic()
            answer = get(base + "/completion", json.dumps({
                "prompt": "hello", "n_predict": tokens, "temperature": 0, "seed": 1,
                "ignore_eos": True, "cache_prompt": False, "return_tokens": True,
                **request}).encode(), 300)
            return answer["tokens"], loaded - started, time.monotonic() - loaded
        finally:
            server.send_signal(signal.SIGINT)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--llama", required=True, help="folder that llama-server fetch filled")
    parser.add_argument("--load-mode", default="mmap")
    parser.add_argument("--log", default=os.devnull)
    parser.add_argument("model")
    args = parser.parse_args()
    try:
        tokens, load_s, answer_s = ask(args.llama, args.model, args.load_mode, args.log)
    except LoadFailed as failure:
        print("llama-server did not load %s: %s" % (args.model, failure), file=sys.stderr)
        return 1
    print("%s loaded in %.2f s, answered in %.2f s" % (
        " ".join(map(str, tokens)), load_s, answer_s))
    return 0


if __name__ == "__main__":
    sys.exit(main())
