/*
 * mcp_tool: the tools that MCP's conformance suite calls, one a plugin, which TOOL names.
 */
#include <sluice/agent_json.h>

#include <stdio.h>
#include <string.h>

static int ask(const char *question)
{
    const char *answer;
    int status = agent_run_ask(question, AGENT_FOREVER, &answer);

    if (status < 0)
        return status;
    emit_text("User response: ");
    return emit_text(answer);
}

static int test_simple_text(void)
{
    return emit_text("This is a simple text response for testing.");
}

static int test_error_handling(void)
{
    return run_fail("intended", "This tool intentionally returns an error for testing");
}

static int test_tool_with_progress(void)
{
    static const char *const steps[] = {"started", "half", "finished"};
    char step[64];

    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        snprintf(step, sizeof step, "{\"name\":\"work\",\"status\":\"%s\"}", steps[i]);
        emit_event("step", step);
    }
    return emit_text("done");
}

static int test_elicitation(void)
{
    return ask(
        "{\"message\":\"Please provide your information\",\"schema\":{\"type\":\"object\","
        "\"properties\":{\"username\":{\"type\":\"string\"},\"email\":{\"type\":\"string\"}},"
        "\"required\":[\"username\",\"email\"]}}");
}

static int test_elicitation_sep1034_defaults(void)
{
    return ask("{\"message\":\"Please review\",\"schema\":{\"type\":\"object\",\"properties\":{"
               "\"name\":{\"type\":\"string\",\"default\":\"John Doe\"},"
               "\"age\":{\"type\":\"integer\",\"default\":30},"
               "\"score\":{\"type\":\"number\",\"default\":95.5},"
               "\"status\":{\"type\":\"string\",\"enum\":[\"active\",\"inactive\",\"pending\"],"
               "\"default\":\"active\"},"
               "\"verified\":{\"type\":\"boolean\",\"default\":true}}}}");
}

static int test_elicitation_sep1330_enums(void)
{
    return ask(
        "{\"message\":\"Please choose\",\"schema\":{\"type\":\"object\",\"properties\":{"
        "\"untitledSingle\":{\"type\":\"string\",\"enum\":[\"option1\",\"option2\",\"option3\"]},"
        "\"titledSingle\":{\"type\":\"string\",\"oneOf\":[{\"const\":\"value1\",\"title\":"
        "\"First\"},"
        "{\"const\":\"value2\",\"title\":\"Second\"}]},"
        "\"legacyEnum\":{\"type\":\"string\",\"enum\":[\"opt1\",\"opt2\"],"
        "\"enumNames\":[\"One\",\"Two\"]},"
        "\"untitledMulti\":{\"type\":\"array\",\"items\":{\"type\":\"string\","
        "\"enum\":[\"option1\",\"option2\",\"option3\"]}},"
        "\"titledMulti\":{\"type\":\"array\",\"items\":{\"anyOf\":[{\"const\":\"value1\","
        "\"title\":\"First\"},{\"const\":\"value2\",\"title\":\"Second\"}]}}}}}");
}

static const struct tool {
    const char *name;
    int (*act)(void);
} tools[] = {
    {"json_schema_2020_12_tool", test_simple_text},
    {"test_elicitation", test_elicitation},
    {"test_elicitation_sep1034_defaults", test_elicitation_sep1034_defaults},
    {"test_elicitation_sep1330_enums", test_elicitation_sep1330_enums},
    {"test_error_handling", test_error_handling},
    {"test_simple_text", test_simple_text},
    {"test_tool_with_progress", test_tool_with_progress},
};

static int handle(void *self, const char *input)
{
    (void)self;
    (void)input;
    for (size_t i = 0; i < sizeof tools / sizeof *tools; i++)
        if (strcmp(tools[i].name, TOOL) == 0)
            return tools[i].act();
    return run_fail("no_tool", "there is no tool " TOOL);
}

/* clang-format off */
/* What json_schema_2020_12_tool is to show unchanged; the others take it, too. */
AGENT_PLUGIN(.name = TOOL, .version = "1.0", .description = "A tool of the conformance suite",
             .handle = handle,
             .input_schema = AGENT_JSON({
                 "$schema": "https://json-schema.org/draft/2020-12/schema",
                 "type": "object",
                 "$defs": {
                     "address": {
                         "type": "object",
                         "properties": {"street": {"type": "string"}, "city": {"type": "string"}}
                     }
                 },
                 "properties": {
                     "name": {"type": "string"},
                     "address": {"$ref": "#/$defs/address"},
                     "message": {"type": "string"}
                 },
                 "additionalProperties": false
             }))
