# SPDX-License-Identifier: Apache-2.0
"""The services' models out of botocore: what a request must look like, and how a reply is written.
Debian 12's are of December 2022; what has come since and kiln needs is added in AMENDMENTS."""
import base64
import datetime
import json
import re
import urllib.parse
from xml.sax import saxutils

import botocore.loaders
import botocore.model

VERSIONS = {"ebs": "2019-11-02", "ec2": "2016-11-15", "sts": "2011-06-15"}


class Invalid(Exception):
    """What is wrong with a parameter. KIND: "unknown", "missing" or "value"."""

    def __init__(self, kind, name, why):
        super().__init__(f"{name}: {why}")
        self.kind = kind


def amend(service, model):
    """Additions from the API references as of November 2026."""
    shapes = model["shapes"]
    if service == "ebs":
        shapes["VolumeSize"]["max"] = 65536
        shapes["IdempotencyToken"].update(max=64, pattern="^[!-~]+$")
        shapes["DataLength"].update(min=524288, max=524288)
        shapes["Tags"]["max"] = 50
    if service == "ec2":
        shapes["BootModeValues"]["enum"].append("uefi-preferred")
        tags = {"shape": "TagSpecificationList", "locationName": "TagSpecification"}
        shapes["RegisterImageRequest"]["members"]["TagSpecifications"] = tags
        shapes["CopyImageRequest"]["members"]["TagSpecifications"] = tags
        shapes["DescribeImagesRequest"]["members"].update(
            MaxResults={"shape": "Integer"}, NextToken={"shape": "String"},
            IncludeDisabled={"shape": "Boolean"})
        shapes["DescribeImagesResult"]["members"]["NextToken"] = {
            "shape": "String", "locationName": "nextToken"}
        # Required by the API, though the model does not say so.
        shapes["RegisterImageRequest"]["required"] = ["Name", "RootDeviceName"]
    return model


def load():
    loader = botocore.loaders.Loader()
    models = {}
    for service, version in VERSIONS.items():
        raw = loader.load_service_model(service, "service-2", version)
        models[service] = botocore.model.ServiceModel(amend(service, raw), service)
    return models


def check(shape, value, name):
    """Ranges, patterns, enumerations, required members; VALUE has the right types already."""
    limits = shape.metadata
    if shape.type_name == "structure":
        for member in limits.get("required", []):
            if value.get(member) in (None, ""):
                raise Invalid("missing", f"{name}.{member}" if name else member, "is required")
        for member, part in value.items():
            check(shape.members[member], part, f"{name}.{member}" if name else member)
        return
    measure = value if shape.type_name in ("integer", "long") else None
    if shape.type_name in ("string", "list", "blob"):
        measure = len(value)
    if measure is not None and not limits.get("min", measure) <= measure <= limits.get("max",
                                                                                       measure):
        raise Invalid("value", name, f"{measure} is not from {limits.get('min', 0)} to "
                      f"{limits.get('max', 'any')}")
    if shape.type_name == "list":
        for number, part in enumerate(value, 1):
            check(shape.member, part, f"{name}.{number}")
    if shape.type_name == "string":
        if "enum" in limits and value not in limits["enum"]:
            raise Invalid("value", name, f"{value!r} is none of {', '.join(limits['enum'])}")
        if "pattern" in limits and not re.search(limits["pattern"], value):
            raise Invalid("value", name, f"{value!r} does not match {limits['pattern']}")


def scalar(shape, text, name):
    """A parameter's value out of text: of a form, header or path."""
    kind = shape.type_name
    if kind == "boolean":
        if text not in ("true", "false"):
            raise Invalid("value", name, f"{text!r} is neither true nor false")
        return text == "true"
    if kind in ("integer", "long"):
        if not re.fullmatch(r"0|-?[1-9][0-9]{0,18}", text):
            raise Invalid("value", name, f"{text!r} is no number")
        return int(text)
    if kind == "timestamp":
        match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,6})?Z", text)
        try:
            return datetime.datetime.strptime(match[1], "%Y-%m-%dT%H:%M:%S").replace(
                tzinfo=datetime.timezone.utc)
        except (TypeError, ValueError):
            raise Invalid("value", name, f"{text!r} is no time") from None
    if kind == "blob":
        return base64.b64decode(text, validate=True)
    if kind != "string":
        raise Invalid("value", name, f"is a {kind}")
    return text


# --- query protocols: EC2 and STS --------------------------------------------------------------

def form(body):
    """The parameters of a form, as strict as a good client writes it: {name: value}."""
    try:
        pairs = urllib.parse.parse_qsl(body.decode("ascii"), keep_blank_values=True,
                                       strict_parsing=True, errors="strict")
    except ValueError as problem:
        raise Invalid("value", "body", f"no form: {problem}") from None
    values = dict(pairs)
    if len(values) != len(pairs):
        raise Invalid("value", "body", "a parameter twice")
    return values


def query_name(service, shape, member):
    """A member's name on the wire: EC2 has rules of its own."""
    serialization = shape.serialization
    if service == "ec2" and "queryName" in serialization:
        return serialization["queryName"]
    name = serialization.get("name", member)
    return name[0].upper() + name[1:] if service == "ec2" else name


def numbered(tree, name):
    """The elements of a list, which count from 1 without gaps."""
    if isinstance(tree, str):
        raise Invalid("value", name, "is a list")
    for number in range(1, len(tree) + 1):
        if str(number) not in tree:
            raise Invalid("value", name, f"element {number} is missing")
    return [tree[str(number)] for number in range(1, len(tree) + 1)]


def from_tree(service, shape, tree, name):
    if shape.type_name == "structure":
        if isinstance(tree, str):
            raise Invalid("value", name, "is a structure")
        names = {query_name(service, part, member): member
                 for member, part in shape.members.items()}
        value = {}
        for key, part in tree.items():
            full = f"{name}.{key}" if name else key
            if key not in names:
                raise Invalid("unknown", full, "is not a parameter of this action")
            value[names[key]] = from_tree(service, shape.members[names[key]], part, full)
        return value
    if shape.type_name == "list":
        if service == "sts":
            if not isinstance(tree, dict) or set(tree) != {"member"}:
                raise Invalid("value", name, "a list without 'member'")
            tree = tree["member"]
        return [from_tree(service, shape.member, part, f"{name}.{number}")
                for number, part in enumerate(numbered(tree, name), 1)]
    if not isinstance(tree, str):
        raise Invalid("value", name, "is no structure")
    return scalar(shape, tree, name)


def parse_query(model, values):
    """The parameters of a form, checked: (operation's model, {member: value})."""
    service = model.service_name
    values = dict(values)
    action, version = values.pop("Action", None), values.pop("Version", None)
    if action not in model.operation_names:
        raise Invalid("unknown", "Action", f"{action!r} is none")
    if version != VERSIONS[service]:
        raise Invalid("value", "Version", f"{version!r} is not {VERSIONS[service]}")
    tree = {}
    for key, value in values.items():
        *path, last = key.split(".")
        place = tree
        for part in path:
            place = place.setdefault(part, {})
            if isinstance(place, str):
                raise Invalid("value", key, "is both a value and a structure")
        if last in place:
            raise Invalid("value", key, "is both a value and a structure")
        place[last] = value
    operation = model.operation_model(action)
    if operation.input_shape is None:
        if tree:
            raise Invalid("unknown", next(iter(tree)), "is not a parameter of this action")
        return operation, {}
    parameters = from_tree(service, operation.input_shape, tree, "")
    check(operation.input_shape, parameters, "")
    return operation, parameters


def time_text(value):
    return value.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def xml_value(service, shape, value):
    if shape.type_name == "structure":
        parts = []
        for member, part in value.items():
            if part is not None:
                name = shape.members[member].serialization.get("name", member)
                parts.append(f"<{name}>{xml_value(service, shape.members[member], part)}</{name}>")
        return "".join(parts)
    if shape.type_name == "list":
        name = "item" if service == "ec2" else "member"
        return "".join(f"<{name}>{xml_value(service, shape.member, part)}</{name}>"
                       for part in value)
    if shape.type_name == "boolean":
        return "true" if value else "false"
    if shape.type_name == "timestamp":
        return time_text(value)
    return saxutils.escape(str(value))


def write_xml(model, operation, result, request_id):
    """RESULT, by the members of the operation's output, as the reply's body."""
    service, name, shape = model.service_name, operation.name, operation.output_shape
    space = model.metadata["xmlNamespace"]
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    inner = xml_value(service, shape, result) if shape else "<return>true</return>"
    if service == "ec2":
        text = (f'{head}<{name}Response xmlns="{space}/">\n    <requestId>{request_id}</requestId>'
                f"\n    {inner}\n</{name}Response>")
    else:
        text = (f'<{name}Response xmlns="{space}">\n  <{name}Result>{inner}</{name}Result>\n'
                f"  <ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>\n"
                f"</{name}Response>\n")
    return text.encode()


def write_xml_error(service, code, message, request_id):
    code, message = saxutils.escape(code), saxutils.escape(message)
    if service == "sts":
        return (f'<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">\n  <Error>\n'
                f"    <Type>Sender</Type>\n    <Code>{code}</Code>\n    <Message>{message}"
                f"</Message>\n  </Error>\n  <RequestId>{request_id}</RequestId>\n"
                "</ErrorResponse>\n").encode()
    return ('<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error><Code>'
            f"{code}</Code><Message>{message}</Message></Error></Errors><RequestID>{request_id}"
            "</RequestID></Response>").encode()


# --- REST-JSON: EBS ----------------------------------------------------------------------------

KINDS = {"string": str, "integer": int, "long": int, "boolean": bool, "list": list,
         "structure": dict}


def once(pairs):
    """Refuses a name that is twice in an object."""
    if len(dict(pairs)) != len(pairs):
        raise Invalid("value", "body", "a name twice")
    return dict(pairs)


def from_json(shape, value, name):
    if type(value) is not KINDS[shape.type_name]:  # bool is an int, else
        raise Invalid("value", name, f"is no {shape.type_name}")
    if shape.type_name == "structure":
        for member in value:
            if member not in shape.members:
                raise Invalid("unknown", member, "is not a parameter of this operation")
        return {member: from_json(shape.members[member], part, member)
                for member, part in value.items()}
    if shape.type_name == "list":
        return [from_json(shape.member, part, name) for part in value]
    return value


def parse_rest(operation, path, headers, body):
    """PATH: the parameters out of the path. The payload of PutSnapshotBlock is not looked at."""
    shape = operation.input_shape
    parameters, names, in_body = {}, {}, {}
    for member, part in shape.members.items():
        place = part.serialization.get("location")
        name = part.serialization.get("name", member)
        if place == "uri":
            parameters[member] = scalar(part, path[name], member)
        elif place == "header":
            names[name.lower()] = member
        elif member != shape.serialization.get("payload"):
            in_body[member] = part
    for header, text in headers.items():
        if header in names:
            parameters[names[header]] = scalar(shape.members[names[header]], text,
                                               names[header])
    if in_body:
        try:
            value = json.loads(body, object_pairs_hook=once)
        except ValueError:
            raise Invalid("value", "body", "no JSON") from None
        parameters.update(from_json(shape, value, "body"))
        if set(parameters) - set(in_body):
            raise Invalid("unknown", "body", "names what is not of the body")
    payload = shape.serialization.get("payload")
    check(shape, dict(parameters, **{payload: b"-"}) if payload else parameters, "")
    return parameters


def header_names(model):
    """All headers of the service's requests, in lower case."""
    return {part.serialization["name"].lower() for name in model.operation_names
            for part in model.operation_model(name).input_shape.members.values()
            if part.serialization.get("location") == "header"}
