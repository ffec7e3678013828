"""How IAM evaluates a key policy: an evaluation of its own, from AWS's documentation.

Written from "Policy evaluation logic", "JSON policy elements", "Condition operators" and "Multivalued
context keys" of the IAM User Guide. It shares nothing with the product but tests/vectors/policy/.
decide() returns "allow", "deny", "none", "iam" (only IAM policies of the caller's account could allow
it) or "unknown" (an operator or a variable that is not modelled).
"""
import fnmatch
import re

UNKNOWN = None


def listed(value):
    return value if isinstance(value, list) else [value]


def text_of(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def glob(pattern, text, ignore_case=False):
    """* and ? only; fnmatch's brackets have no meaning here."""
    escaped = pattern.replace("[", "[[]")
    expression = re.compile(fnmatch.translate(escaped), re.I if ignore_case else 0)
    return expression.match(text) is not None


def all_of(answers):
    answers = list(answers)
    if False in answers:
        return False
    return UNKNOWN if UNKNOWN in answers else True


def any_of(answers):
    answers = list(answers)
    if True in answers:
        return True
    return UNKNOWN if UNKNOWN in answers else False


def inverse(answer):
    return UNKNOWN if answer is UNKNOWN else not answer


def match_arn(pattern, text):
    wanted, given = pattern.split(":", 5), text.split(":", 5)
    if len(wanted) < 6 and wanted[-1] == "*":
        return UNKNOWN  # AWS does not document whether "*" stands for several parts
    return len(wanted) == len(given) == 6 and all(map(glob, wanted, given))


def number(compare):
    def match(wanted, given):
        try:
            return compare(float(given), float(wanted))
        except ValueError:
            return UNKNOWN
    return match


MATCHERS = {
    "stringequals": lambda wanted, given: wanted == given,
    "stringequalsignorecase": lambda wanted, given: wanted.lower() == given.lower(),
    "stringlike": glob,
    "arnequals": match_arn,
    "arnlike": match_arn,
    "bool": lambda wanted, given: wanted.lower() == given.lower(),
    "numericequals": number(lambda given, wanted: given == wanted),
    "numericlessthan": number(lambda given, wanted: given < wanted),
    "numericlessthanequals": number(lambda given, wanted: given <= wanted),
    "numericgreaterthan": number(lambda given, wanted: given > wanted),
    "numericgreaterthanequals": number(lambda given, wanted: given >= wanted),
}
NEGATED = {"stringnotequals": "stringequals", "stringnotequalsignorecase": "stringequalsignorecase",
           "stringnotlike": "stringlike", "arnnotequals": "arnequals", "arnnotlike": "arnlike",
           "numericnotequals": "numericequals"}


def condition(operator, key, wanted, context):
    """One key of one operator: True, False or UNKNOWN."""
    name = operator.lower()
    qualifier = None
    if ":" in name:
        qualifier, name = name.split(":", 1)
    given = next((value for known, value in context.items() if known.lower() == key.lower()), None)
    given = [] if given is None else [text_of(value) for value in listed(given)]
    wanted = [text_of(value) for value in listed(wanted)]
    if name == "null":
        return ("false" if given else "true") in [value.lower() for value in wanted]
    if_exists = name.endswith("ifexists")
    if if_exists:
        name = name[:-len("ifexists")]
    negated = name in NEGATED
    match = MATCHERS.get(NEGATED.get(name, name))
    if not given:
        if qualifier == "forallvalues":
            return True
        if qualifier == "foranyvalue":
            return UNKNOWN if if_exists else False
        if if_exists:
            return True
        return UNKNOWN if match is None else negated

    def one(value):
        answers = [UNKNOWN if match is None or "${" in each else match(each, value) for each in wanted]
        return inverse(any_of(answers)) if negated else any_of(answers)

    answers = [one(value) for value in given]
    if qualifier == "forallvalues" or (negated and qualifier is None):
        return all_of(answers)
    return any_of(answers)


ARN = re.compile(r"arn:(?P<partition>[^:]*):(?:iam|sts):[^:]*:(?P<account>\d{12}):(?P<rest>.*)\Z")


def match_aws(entry, principal):
    """"named", "account" or None."""
    if entry in ("*", principal):
        return "named"
    caller = ARN.match(principal)
    if not caller:
        return None
    root = f"arn:{caller['partition']}:iam::{caller['account']}:root"
    if entry in (root, caller["account"]):
        return "named" if principal == root else "account"
    role = ARN.match(entry)
    if role and role["rest"].startswith("role/"):
        session = f"assumed-role/{role['rest'].rsplit('/', 1)[1]}/"
        if (caller["rest"].startswith(session) and role["account"] == caller["account"]
                and role["partition"] == caller["partition"]):
            return "named"
    return "named" if glob(entry, principal) else None


def match_principal(element, principal):
    if element == "*":
        return "named"
    best = None
    for kind, entries in element.items():
        for entry in listed(entries):
            match = match_aws(entry, principal) if kind == "AWS" else "named" if entry == principal else None
            best = "named" if "named" in (best, match) else best or match
    return best


def match_statement(statement, principal, action, resource, context):
    """(True, False or UNKNOWN; how the principal matched)."""
    if "Principal" in statement:
        how = match_principal(statement["Principal"], principal)
    else:
        how = None if match_principal(statement["NotPrincipal"], principal) else "named"
    if how is None:
        return False, None
    for element, subject, ignore_case in (("Action", action, True), ("Resource", resource, False)):
        negated = "Not" + element in statement
        patterns = listed(statement["Not" + element if negated else element])
        if any(glob(pattern, subject, ignore_case) for pattern in patterns) == negated:
            return False, None
    answers = [condition(operator, key, wanted, context)
               for operator, block in statement.get("Condition", {}).items() for key, wanted in block.items()]
    return all_of(answers), how


def decide(policy, principal, action, resource, context):
    denied, allowed = [], []
    for statement in listed(policy["Statement"]):
        applies, how = match_statement(statement, principal, action, resource, context)
        if applies is not False:
            (denied if statement["Effect"] == "Deny" else allowed).append((applies, how))
    if any(applies for applies, _ in denied):
        return "deny"
    if not allowed:
        return "none"
    if denied:
        return "unknown"
    if (True, "named") in allowed:
        return "allow"
    return "unknown" if any(applies is UNKNOWN for applies, _ in allowed) else "iam"
