/* SPDX-License-Identifier: Apache-2.0 */
/* Replies in XML: what is found in them, and what is no reply. */
#undef NDEBUG
#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "aws/xml.h"

#include <cmocka.h> /* last: it has a macro fail() */

static struct xml *parse(const char *text)
{
    struct xml *xml = NULL;
    struct error err = {0};

    if (xml_parse(text, strlen(text), &xml, &err) < 0) {
        fail_msg("%s: %s", text, err.message);
    }
    return xml;
}

static void refused(const char *text, size_t size, const char *message)
{
    struct xml *xml = NULL;
    struct error err = {0};

    assert_int_equal(xml_parse(text, size, &xml, &err), -1);
    assert_null(xml);
    assert_int_equal(err.kind, FAIL_REMOTE);
    assert_non_null(strstr(err.message, message));
}

static void items_are_found_by_path(void **state)
{
    SCOPED(xml_freep)
    struct xml *xml =
        parse("<?xml version=\"1.0\"?>\n"
              "<a:Reply xmlns:a=\"urn:x\"><!-- <set>no</set> --><other/>\n"
              " <set at=\"7\"><item><id>i-1</id></item><x/><item><id>i-2</id><tag>a&lt;b&#65;</tag>"
              "</item><item/></set><set><item>second</item></set><empty></empty>"
              "<mixed>one<b>two</b>three</mixed><raw><![CDATA[<&>]]></raw></a:Reply>");
    const struct xml *item = xml_find(xml, "set/item");

    (void)state;
    assert_string_equal(xml->name, "Reply");
    assert_string_equal(xml_text(item, "id"), "i-1");
    assert_string_equal(xml_text(xml, "set/item/id"), "i-1");
    item = xml_next(item);
    assert_string_equal(xml_text(item, "id"), "i-2");
    assert_string_equal(xml_text(item, "tag"), "a<bA");
    item = xml_next(item);
    assert_non_null(item);
    assert_null(xml_text(item, "id"));
    assert_null(xml_next(item));
    assert_null(xml_text(xml, "empty"));
    assert_null(xml_text(xml, "none/such"));
    assert_null(xml_find(NULL, "a"));
    assert_string_equal(xml_text(xml, "mixed"), "onethree");
    assert_string_equal(xml_text(xml, "raw"), "<&>");
    assert_ptr_equal(xml_find(xml, ""), xml);
    assert_null(xml_find(xml, "se"));
    assert_null(xml_find(xml, "sets"));
}

static void what_is_no_reply_is_refused(void **state)
{
    static const char *const rows[][2] = {
        {"", "not XML"},
        {"{}", "not XML"},
        {"<a>", "not XML"},
        {"<a></b>", "not XML"},
        {"<a/><b/>", "not XML"},
        {"<a>&nbsp;</a>", "not XML"},
        {"<a>\x01</a>", "not XML"},
        {"<a>\xff</a>", "not XML"},
        {"<!DOCTYPE a><a/>", "document type"},
        {"<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>", "document type"},
        {"<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>", "document type"},
    };
    static const char nul[] = "<a>\0</a>";

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        refused(rows[i][0], strlen(rows[i][0]), rows[i][1]);
    }
    refused(nul, sizeof(nul) - 1, "not XML");
}

static void depth_and_number_have_limits(void **state)
{
    SCOPED(buf_done) struct buf text = {0};
    struct xml *xml;

    (void)state;
    for (int i = 0; i < XML_DEPTH_MAX; i++) {
        buf_puts(&text, "<a>");
    }
    for (int i = 0; i < XML_DEPTH_MAX; i++) {
        buf_puts(&text, "</a>");
    }
    xml = parse(text.data);
    xml_free(xml);
    buf_clear(&text);
    for (int i = 0; i < 200000; i++) {
        buf_puts(&text, "<a>");
    }
    refused(text.data, text.size, "nested too deeply");
    buf_clear(&text);
    buf_puts(&text, "<a>");
    for (int i = 0; i < XML_ELEMENTS_MAX; i++) {
        buf_puts(&text, "<b/>");
    }
    refused(text.data, text.size, "too many elements");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_are_found_by_path),
        cmocka_unit_test(what_is_no_reply_is_refused),
        cmocka_unit_test(depth_and_number_have_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
