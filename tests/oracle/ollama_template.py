"""Go's text/template, as far as Ollama looks at one to decide what a model can do.

Written from Go's text/template/parse and Ollama's template and thinking packages: actions, trimming,
nesting, names of functions; the identifiers of all pipelines; and the text round `.Thinking` in a
range over `.Messages`.
"""

import re

FUNCTIONS = {"and", "or", "not", "len", "index", "slice", "print", "printf", "println", "html", "js",
             "urlquery", "call", "eq", "ne", "lt", "le", "gt", "ge", "json", "currentDate",
             "yesterdayDate", "toTypeScriptType", "true", "false", "nil"}
TOKEN = re.compile(r'\s+|"(?:[^"\\\n]|\\.)*"|`[^`]*`|\'(?:[^\'\\]|\\.)*\'|[-+]?\d[\w.+-]*|'
                   r"(?P<variable>\$\w*(?:\.\w+)*)|(?P<field>(?:\.\w+)+|\.)|(?P<word>\w+)|"
                   r":=|[=,|()]")
ACTION = re.compile(r"\{\{(-\s)?\s*(/\*.*?\*/|(?:\"(?:[^\"\\\n]|\\.)*\"|`[^`]*`|[^\"`])*?)\s*(\s-)?\}\}",
                    re.S)


class TemplateError(ValueError):
    """template.Parse would refuse it."""


def pipeline(text):
    """[(identifiers), …] of fields and variables, declarations left out."""
    found, at, declared = [], 0, []
    while at < len(text):
        match = TOKEN.match(text, at)
        if not match or match.end() == at:
            raise TemplateError(f"unexpected {text[at:at + 10]!r} in operand")
        if match.group("variable"):
            declared.append(tuple(match.group("variable").split(".")))
            found.append(declared[-1])
        elif match.group("field"):
            found.append(tuple(match.group("field").split(".")[1:]))
        elif match.group("word") and match.group("word") not in FUNCTIONS:
            raise TemplateError(f"function {match.group('word')!r} not defined")
        elif match.group() in (":=", "="):
            found = [each for each in found if each not in declared]
        at = match.end()
    return [each for each in found if each and each != ("",)]


class Branch:
    """if, range or with; or the root."""

    def __init__(self, kind, fields):
        self.kind, self.fields = kind, fields
        self.lists = [[]]

    @property
    def nodes(self):
        return self.lists[-1]


def pieces(text):
    """(text, action or None) with trimming done."""
    at, trim = 0, False
    for match in ACTION.finditer(text):
        before = text[at:match.start()]
        before = before.lstrip() if trim else before
        yield (before.rstrip() if match.group(1) else before), match.group(2).strip()
        at, trim = match.end(), bool(match.group(3))
    rest = text[at:]
    if "{{" in rest:
        raise TemplateError("unclosed action")
    yield (rest.lstrip() if trim else rest), None


def parse(text):
    """The root Branch."""
    root = Branch("root", [])
    stack = [root]
    for before, action in pieces(text):
        if before:
            stack[-1].nodes.append(before)
        if action is None or action.startswith("/*"):
            continue
        word, _, rest = action.partition(" ")
        if word in ("if", "range", "with"):
            branch = Branch(word, pipeline(rest))
            stack[-1].nodes.append(branch)
            stack.append(branch)
        elif word == "else":
            if len(stack) == 1 or len(stack[-1].lists) > 1:
                raise TemplateError("unexpected {{else}}")
            stack[-1].lists.append([])
            if rest:
                inner = Branch(rest.split()[0], pipeline(rest.partition(" ")[2]))
                inner.chained = True
                stack[-1].nodes.append(inner)
                stack.append(inner)
        elif word == "end":
            while getattr(stack[-1], "chained", False):
                stack.pop()
            if len(stack) == 1:
                raise TemplateError("unexpected {{end}}")
            stack.pop()
        elif word in ("break", "continue"):
            if not any(branch.kind == "range" for branch in stack):
                raise TemplateError(f"{{{{{word}}}}} outside {{{{range}}}}")
        elif not action:
            raise TemplateError("missing value for command")
        else:
            stack[-1].nodes.append(pipeline(action))
    if len(stack) > 1:
        raise TemplateError("unexpected EOF")
    return root


class Template:
    """What Ollama asks of a parsed one."""

    def __init__(self, text):
        self.text, self.root = text, parse(text)
        self.names, self.tags = set(), ["", ""]
        self.visit(self.root, None, [])

    def visit(self, branch, around, ranges):
        self.fields(branch.fields, around, ranges)
        if branch.kind == "range":
            ranges = [*ranges, branch]
        for nodes in branch.lists:
            for node in nodes:
                if isinstance(node, Branch):
                    self.visit(node, nodes, ranges)
                elif isinstance(node, list):
                    self.fields(node, nodes, ranges)

    def fields(self, found, around, ranges):
        for each in found:
            self.names.update(part.lower() for part in each)
            if each[0] != "Thinking" or not ranges or ("Messages",) not in [
                    field[:1] for field in ranges[-1].fields]:
                continue
            for index, place in enumerate((0, -1)):
                if isinstance(around[place], str):
                    self.tags[index] = around[place].strip()

    def capabilities(self):
        found = {"tools": "tools" in self.names, "insert": "suffix" in self.names,
                 "thinking": all(self.tags)}
        return {name for name, there in found.items() if there}

    def has_tool_round_trip(self):
        return {"tools", "toolcalls"} <= self.names and any(
            word in self.text for word in ('eq .Role "tool"', "tool_response", "TOOL_RESULTS"))


def chat_capabilities(text):
    """Of a Jinja template: words in it."""
    found = set()
    if "tools" in text or "tool_call" in text:
        found.add("tools")
    splits = "content.split('</think>')" in text or 'content.split("</think>")' in text
    if ("<think>" in text and "</think>" in text) or (
            splits and "reasoning_content" not in text and "<SPECIAL_12>" not in text):
        found.add("thinking")
    return found


def chat_has_tool_round_trip(text):
    roles = [f"{before}{quote}tool{quote}" for before in ("role'] == ", 'role"] == ',
                                                          "message.role == ") for quote in "'\""]
    return ("tool_calls" in text or "assistant_tool_call" in text) and any(
        word in text for word in ("tool_response", "tool_results", "ipython", *roles))


def prefers_chat(text, template):
    """shouldPreferChatTemplate: 0.30 and later, unless OLLAMA_GO_TEMPLATE is set."""
    chat, own = chat_capabilities(text), template.capabilities()
    if len(chat) > len(own):
        return not template.has_tool_round_trip() or chat_has_tool_round_trip(text)
    return chat == own and "tools" in chat and chat_has_tool_round_trip(text) \
        and not template.has_tool_round_trip()
