/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/xml.h"

#include <libxml/parser.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include "base/secret.h"

struct reading {
    xmlParserCtxtPtr parser;
    struct xml *root, *open;
    size_t depth, count;
    const char *refused; /* why it was stopped; NULL: it was not */
};

static void parser_cleanup(xmlParserCtxtPtr *parser)
{
    xmlFreeParserCtxt(*parser);
}

/* Depth has a limit, so what is below can be freed by calls. */
void xml_free(struct xml *xml)
{
    if (xml == NULL) {
        return;
    }
    for (struct xml *below = xml->first, *next; below != NULL; below = next) {
        next = below->next;
        xml_free(below);
    }
    secret_done(&xml->text);
    free(xml->name);
    free(xml);
}

static void stop(struct reading *reading, const char *why)
{
    if (reading->refused == NULL) {
        reading->refused = why;
        xmlStopParser(reading->parser);
    }
}

/* --- called by libxml2 ----------------------------------------------------------------------- */

static void on_start(void *data, const xmlChar *name, const xmlChar *prefix, const xmlChar *space,
                     int spaces, const xmlChar **space_list, int attributes, int defaulted,
                     const xmlChar **attribute_list)
{
    struct reading *reading = data;
    struct xml *parent = reading->open, *xml;

    (void)prefix, (void)space, (void)spaces, (void)space_list;
    (void)attributes, (void)defaulted, (void)attribute_list;
    if (reading->refused != NULL) {
        return;
    }
    if (reading->depth == XML_DEPTH_MAX) {
        return stop(reading, "its elements are nested too deeply");
    }
    if (reading->count++ == XML_ELEMENTS_MAX) {
        return stop(reading, "it has too many elements");
    }
    xml = xcalloc(1, sizeof(*xml));
    xml->name = xstrdup((const char *)name);
    xml->parent = parent;
    if (parent == NULL) {
        reading->root = xml;
    } else if (parent->last != NULL) {
        parent->last->next = xml;
    } else {
        parent->first = xml;
    }
    if (parent != NULL) {
        parent->last = xml;
    }
    reading->open = xml;
    reading->depth++;
}

static void on_end(void *data, const xmlChar *name, const xmlChar *prefix, const xmlChar *space)
{
    struct reading *reading = data;

    (void)name, (void)prefix, (void)space;
    if (reading->refused == NULL) {
        reading->open = reading->open->parent;
        reading->depth--;
    }
}

static void on_text(void *data, const xmlChar *text, int size)
{
    struct reading *reading = data;

    if (reading->refused == NULL && reading->open != NULL) {
        secret_add(&reading->open->text, text, (size_t)size);
    }
}

static void on_type(void *data, const xmlChar *name, const xmlChar *external, const xmlChar *system)
{
    (void)name, (void)external, (void)system;
    stop(data, "it has a document type");
}

static void on_error(void *data, xmlErrorPtr error)
{
    (void)data, (void)error; /* libxml2 keeps the last one; without this it would print it */
}

/* --------------------------------------------------------------------------------------------- */

static int judge(const struct reading *reading, bool parsed, struct error *err)
{
    const xmlError *last = xmlCtxtGetLastError(reading->parser);

    if (reading->refused != NULL) {
        return fail(err, FAIL_REMOTE, "the XML is refused: %s", reading->refused);
    }
    if (!parsed || reading->root == NULL || reading->open != NULL) {
        return fail(err, FAIL_REMOTE, "this is not XML (line %d, error %d of libxml2)",
                    last != NULL ? last->line : 0, last != NULL ? last->code : 0);
    }
    return 0;
}

int xml_parse(const void *data, size_t size, struct xml **ret, struct error *err)
{
    xmlSAXHandler handler = {.initialized = XML_SAX2_MAGIC,
                             .startElementNs = on_start,
                             .endElementNs = on_end,
                             .characters = on_text,
                             .cdataBlock = on_text,
                             .ignorableWhitespace = on_text,
                             .internalSubset = on_type,
                             .serror = on_error};
    struct reading reading = {0};
    SCOPED(parser_cleanup) xmlParserCtxtPtr parser = NULL;
    bool parsed;

    if (size > INT_MAX) {
        return fail(err, FAIL_REMOTE, "the XML is refused: it is too large");
    }
    xmlInitParser();
    parser = xmlCreatePushParserCtxt(&handler, &reading, NULL, 0, NULL);
    if (parser == NULL) {
        return fail(err, FAIL_ERROR, "libxml2 cannot be started");
    }
    reading.parser = parser;
    (void)xmlCtxtUseOptions(parser, XML_PARSE_NONET);
    parsed = xmlParseChunk(parser, data, (int)size, 1) == XML_ERR_OK && parser->wellFormed == 1;
    if (judge(&reading, parsed, err) < 0) {
        xml_free(reading.root);
        return -1;
    }
    *ret = reading.root;
    return 0;
}

/* --- finding --------------------------------------------------------------------------------- */

static const struct xml *named(const struct xml *xml, const char *name, size_t size)
{
    while (xml != NULL && !(strncmp(xml->name, name, size) == 0 && xml->name[size] == '\0')) {
        xml = xml->next;
    }
    return xml;
}

const struct xml *xml_find(const struct xml *xml, const char *path)
{
    while (xml != NULL && *path != '\0') {
        size_t size = strcspn(path, "/");

        xml = named(xml->first, path, size);
        path += size + (path[size] == '/');
    }
    return xml;
}

const struct xml *xml_next(const struct xml *xml)
{
    return named(xml->next, xml->name, strlen(xml->name));
}

const char *xml_text(const struct xml *xml, const char *path)
{
    const struct xml *found = xml_find(xml, path);

    return found != NULL && found->text.size != 0 ? found->text.data : NULL;
}
