/*
 * A line of roff is either text or a request, which starts with '.' or "'".
 * roff_line() reads one, collects what is to be read in roff->line, and
 * roff_put() writes it as one line of the form that passage.h describes. What
 * a request says about the lines after it (the next one is a heading, a tag;
 * code starts here) is a member of struct roff.
 *
 * To add a request, add it to requests[], in order; to add an mdoc macro that
 * may stand inside a line, add it to mdoc_macros[].
 */
#include "roff.h"

#include "text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum line { LINE_NOTHING, LINE_BREAK, LINE_PROSE, LINE_HEADING, LINE_ITEM, LINE_CODE };

enum table { TABLE_NONE, TABLE_FORMAT, TABLE_ROWS };

struct roff {
    struct text out;
    struct text line; /* what the present line says */
    enum line kind;
    char name[64];  /* what mdoc's Nm says without arguments */
    char end[8];    /* the request that ends a part to be left out, or "" */
    int skipped;    /* braces open in a conditional that is left out */
    bool otherwise; /* the next .el is to be read */
    bool code;      /* between .nf and .fi */
    bool shell;     /* the line before was a command after a prompt */
    bool heading;   /* the next line of text is one */
    bool tag;       /* the next line of text is the tag of an item */
    bool tagged;    /* the line before was a tag: no paragraph ends here */
    bool display;   /* what is indented after a colon is code */
    unsigned prose; /* lines of text since the paragraph began */
    char last;      /* the last character of text */
    enum table table;
    bool cell; /* inside T{ and T} of a table */
    bool row;  /* a row has started, but nothing of it was written */
};

/* ---- escapes ------------------------------------------------------------ */

static const struct {
    const char *name;
    const char *text;
} characters[] = {
    {"bu", "•"},  {"em", "—"}, {"en", "–"},  {"hy", "-"},  {"mi", "-"}, {"aq", "'"}, {"dq", "\""},
    {"lq", "“"},  {"rq", "”"}, {"oq", "‘"},  {"cq", "’"},  {"ga", "`"}, {"ha", "^"}, {"ti", "~"},
    {"rs", "\\"}, {"sl", "/"}, {"co", "©"},  {"rg", "®"},  {"tm", "™"}, {"de", "°"}, {"mu", "×"},
    {"di", "÷"},  {"+-", "±"}, {"<=", "≤"},  {">=", "≥"},  {"!=", "≠"}, {"->", "→"}, {"<-", "←"},
    {"==", "≡"},  {"at", "@"}, {"sh", "#"},  {"Do", "$"},  {"lB", "["}, {"rB", "]"}, {"lC", "{"},
    {"rC", "}"},  {"ba", "|"}, {"br", "|"},  {"bv", "|"},  {"or", "|"}, {"ul", "_"}, {"ru", "_"},
    {"pl", "+"},  {"eq", "="}, {"fm", "'"},  {"sd", "\""}, {"sc", "§"}, {"dg", "†"}, {"ci", "○"},
    {"sq", "□"},  {"ss", "ß"}, {":a", "ä"},  {":o", "ö"},  {":u", "ü"}, {":A", "Ä"}, {":O", "Ö"},
    {":U", "Ü"},  {"'e", "é"}, {"`e", "è"},  {"'a", "á"},  {"^e", "ê"}, {",c", "ç"}, {"~n", "ñ"},
    {"/o", "ø"},  {"oa", "å"}, {"12", "½"},  {"14", "¼"},  {"34", "¾"}, {"if", "∞"}, {"la", "<"},
    {"ra", ">"},  {"*a", "α"}, {"*b", "β"},  {"*m", "μ"},  {"*p", "π"}, {"*W", "Ω"}, {"Fo", "«"},
    {"Fc", "»"},  {"Aq", "'"}, {"L\"", "“"}, {"R\"", "”"}, {"--", "—"}, {"R", "®"},  {"Tm", "™"},
    {"Lt", "<"},  {"Gt", ">"}, {"Le", "≤"},  {"Ge", "≥"},  {"Am", "&"}, {"Ba", "|"}, {"PI", "pi"},
    {"bq", "‚"},  {"Bq", "„"}, {"ps", "¶"},  {"12", "½"},  {"sp", " "},
};

/* Reads X, (XX or [XXX] at *at into name. */
static void escape_name(const char **at, char *name, size_t size)
{
    const char *start = *at;
    size_t length = *start != '\0';

    if (*start == '(') {
        length = strnlen(++start, 2);
        *at = start + length;
    } else if (*start == '[') {
        length = strcspn(++start, "]");
        *at = start + length + (start[length] == ']');
    } else {
        *at = start + length;
    }
    if (length >= size)
        length = size - 1;
    memcpy(name, start, length);
    name[length] = '\0';
}

/* Steps over what stands between two equal characters. */
static void escape_quoted(const char **at)
{
    const char *end = **at ? strchr(*at + 1, **at) : NULL;
    *at = end ? end + 1 : *at + strlen(*at);
}

/* Steps over a size such as -1, 10, (12, [+2] or '3'. */
static void escape_size(const char **at)
{
    char name[8];

    if (**at == '+' || **at == '-')
        ++*at;
    if (**at == '\'')
        escape_quoted(at);
    else if (**at >= '1' && **at <= '3' && isdigit((unsigned char)(*at)[1]))
        *at += 2;
    else
        escape_name(at, name, sizeof(name));
}

static void escape_character(struct text *out, const char *name)
{
    if (name[0] == 'u' && strlen(name) >= 5) {
        text_add_rune(out, (unsigned)strtoul(name + 1, NULL, 16));
        return;
    }
    for (size_t i = 0; i < sizeof(characters) / sizeof(characters[0]); i++)
        if (strcmp(characters[i].name, name) == 0) {
            text_add(out, characters[i].text);
            return;
        }
}

/* Reads the escape of which the backslash was read. */
static void escape(struct text *out, const char **at)
{
    char c = **at;
    char name[32];

    if (c != '\0' && c != '(' && c != '[')
        ++*at;
    if (c == '-' || c == '\'' || c == '`' || c == '_' || c == '.') {
        text_add_char(out, c);
    } else if (c == 'e' || c == '\\' || c == 'E') {
        text_add_char(out, '\\');
    } else if (c == ' ' || c == '~' || c == '0' || c == 't') {
        text_add_char(out, ' ');
    } else if (c == '"' || c == '#') {
        *at += strlen(*at);
    } else if (c == '(' || c == '[' || c == '*') {
        escape_name(at, name, sizeof(name));
        escape_character(out, name);
    } else if (c != '\0' && strchr("fFmMngkVYO", c)) {
        if (c == 'n' && (**at == '+' || **at == '-'))
            ++*at;
        escape_name(at, name, sizeof(name));
    } else if (c == 's') {
        escape_size(at);
    } else if (c != '\0' && strchr("hvwXDblLNoZxABCRSH", c)) {
        escape_quoted(at);
    }
}

static void roff_inline(struct text *out, const char *string)
{
    while (*string) {
        size_t plain = strcspn(string, "\\");
        text_add_bytes(out, string, plain);
        string += plain;
        if (*string == '\\') {
            string++;
            escape(out, &string);
        }
    }
}

/* ---- arguments ---------------------------------------------------------- */

static char *skip_blanks(char *string)
{
    return string + strspn(string, " \t");
}

/* Ends the line where a comment starts. */
static void cut_comment(char *line)
{
    for (; *line; line++) {
        if (*line != '\\' || line[1] == '\0')
            continue;
        if (line[1] == '"') {
            *line = '\0';
            return;
        }
        line++;
    }
}

/* The next argument, ended with NUL in place; NULL after the last. */
static char *next_argument(char **at)
{
    char *start = skip_blanks(*at);
    char *end = start;

    if (*start == '\0')
        return NULL;
    if (*start == '"') {
        end = ++start;
        while (*end && (*end != '"' || end[1] == '"'))
            end += *end == '"' ? 2 : 1;
    } else {
        while (*end && *end != ' ' && *end != '\t')
            end += *end == '\\' && end[1] ? 2 : 1;
    }
    *at = end + (*end != '\0');
    *end = '\0';
    return start;
}

static void add_arguments(struct roff *roff, char *arguments, const char *between)
{
    const char *word;
    bool first = true;

    while ((word = next_argument(&arguments)) != NULL) {
        if (!first)
            text_add(&roff->line, between);
        roff_inline(&roff->line, word);
        first = false;
    }
}

/* ---- mdoc --------------------------------------------------------------- */

struct mdoc_macro {
    char name[4];
    const char *prefix; /* before each word */
    const char *open;
    const char *close;
    bool call; /* name(argument, ...) */
};

static const struct mdoc_macro mdoc_macros[] = {
    {"Ac", "", ">", "", 0},       {"Ad", "", "", "", 0},       {"An", "", "", "", 0},
    {"Ao", "", "<", "", 0},       {"Ap", "", "'", "", 0},      {"Aq", "", "<", ">", 0},
    {"Ar", "", "", "", 0},        {"Bc", "", "]", "", 0},      {"Bo", "", "[", "", 0},
    {"Bq", "", "[", "]", 0},      {"Brq", "", "{", "}", 0},    {"Cd", "", "", "", 0},
    {"Cm", "", "", "", 0},        {"Dc", "", "”", "", 0},      {"Do", "", "“", "", 0},
    {"Dq", "", "“", "”", 0},      {"Dv", "", "", "", 0},       {"Em", "", "", "", 0},
    {"Er", "", "", "", 0},        {"Ev", "", "", "", 0},       {"Fa", "", "", "", 0},
    {"Fl", "-", "", "", 0},       {"Fn", "", "", "", 1},       {"Fo", "", "", "(", 0},
    {"Fc", "", ")", "", 0},       {"Ft", "", "", "", 0},       {"Ic", "", "", "", 0},
    {"In", "", "<", ">", 0},      {"Li", "", "", "", 0},       {"Lk", "", "", "", 0},
    {"Ms", "", "", "", 0},        {"Mt", "", "", "", 0},       {"Nd", "", "-", "", 0},
    {"Nm", "", "", "", 0},        {"No", "", "", "", 0},       {"Oc", "", "]", "", 0},
    {"Oo", "", "[", "", 0},       {"Op", "", "[", "]", 0},     {"Pa", "", "", "", 0},
    {"Pc", "", ")", "", 0},       {"Po", "", "(", "", 0},      {"Pq", "", "(", ")", 0},
    {"Ql", "", "‘", "’", 0},      {"Qq", "", "\"", "\"", 0},   {"Sq", "", "‘", "’", 0},
    {"Sc", "", "’", "", 0},       {"So", "", "‘", "", 0},      {"Sx", "", "“", "”", 0},
    {"Sy", "", "", "", 0},        {"Tn", "", "", "", 0},       {"Va", "", "", "", 0},
    {"Vt", "", "", "", 0},        {"Ux", "", "Unix", "", 0},   {"Xr", "", "", "", 1},
    {"Fx", "", "FreeBSD", "", 0}, {"Nx", "", "NetBSD", "", 0}, {"Ox", "", "OpenBSD", "", 0},
};

/* What is known between two words of an mdoc line. */
struct mdoc {
    const char *prefix;
    const char *closers[8]; /* of the enclosures that are open */
    size_t open;
    bool glue;     /* no blank before the next word */
    unsigned call; /* words of a call so far, counted from 1; 0 outside */
};

static const struct mdoc_macro *mdoc_find(const char *name)
{
    for (size_t i = 0; i < sizeof(mdoc_macros) / sizeof(mdoc_macros[0]); i++)
        if (strcmp(mdoc_macros[i].name, name) == 0)
            return &mdoc_macros[i];
    return NULL;
}

static void mdoc_space(struct roff *roff, struct mdoc *mdoc)
{
    if (roff->line.length > 0 && !mdoc->glue)
        text_add_char(&roff->line, ' ');
    mdoc->glue = false;
}

static void mdoc_end_call(struct roff *roff, struct mdoc *mdoc)
{
    if (mdoc->call == 2)
        text_add(&roff->line, "()");
    else if (mdoc->call > 2)
        text_add_char(&roff->line, ')');
    mdoc->call = 0;
}

static void mdoc_close(struct roff *roff, struct mdoc *mdoc)
{
    mdoc_end_call(roff, mdoc);
    while (mdoc->open > 0)
        text_add(&roff->line, mdoc->closers[--mdoc->open]);
}

static void mdoc_open(struct roff *roff, struct mdoc *mdoc, const struct mdoc_macro *macro)
{
    bool ends = macro->open[0] && strchr(">])'", macro->open[0]) && macro->close[0] == '\0';

    mdoc_end_call(roff, mdoc);
    mdoc->prefix = macro->prefix;
    mdoc->call = macro->call;
    if (macro->open[0]) {
        mdoc->glue |= ends;
        mdoc_space(roff, mdoc);
        text_add(&roff->line, macro->open);
        mdoc->glue = macro->close[0] || strchr("<[({'", macro->open[0]);
    }
    if (macro->close[0] && mdoc->open < sizeof(mdoc->closers) / sizeof(mdoc->closers[0]))
        mdoc->closers[mdoc->open++] = macro->close;
}

static void mdoc_word(struct roff *roff, struct mdoc *mdoc, const char *word)
{
    if (mdoc->call == 2)
        text_add_char(&roff->line, '(');
    else if (mdoc->call > 2)
        text_add(&roff->line, ", ");
    else
        mdoc_space(roff, mdoc);
    if (mdoc->call)
        mdoc->call++;
    text_add(&roff->line, mdoc->prefix);
    roff_inline(&roff->line, word);
}

static bool is_delimiter(const char *word)
{
    return word[0] && word[1] == '\0' && strchr(".,:;)]?!", word[0]);
}

static void mdoc_arguments(struct roff *roff, struct mdoc *mdoc, char *arguments)
{
    const struct mdoc_macro *macro;
    const char *word;

    while ((word = next_argument(&arguments)) != NULL) {
        macro = mdoc_find(word);
        if (macro) {
            mdoc_open(roff, mdoc, macro);
        } else if (strcmp(word, "Ns") == 0) {
            mdoc_end_call(roff, mdoc);
            mdoc->glue = true;
        } else if (is_delimiter(word)) {
            mdoc_end_call(roff, mdoc);
            if (*skip_blanks(arguments) == '\0')
                mdoc_close(roff, mdoc);
            text_add(&roff->line, word);
        } else if (strcmp(word, "Xo") != 0 && strcmp(word, "Xc") != 0) {
            mdoc_word(roff, mdoc, word);
        }
    }
    mdoc_close(roff, mdoc);
}

static void mdoc_line(struct roff *roff, const char *name, char *arguments)
{
    struct mdoc mdoc = {.prefix = ""};
    const char *first = skip_blanks(arguments);

    roff->kind = LINE_PROSE;
    mdoc_open(roff, &mdoc, mdoc_find(name));
    if (strcmp(name, "Nm") == 0) {
        size_t length = strcspn(first, " \t");
        if (length == 0 || is_delimiter(first))
            mdoc_word(roff, &mdoc, roff->name);
        else if (roff->name[0] == '\0' && length < sizeof(roff->name))
            memcpy(roff->name, first, length);
    }
    mdoc_arguments(roff, &mdoc, arguments);
}

/* ---- requests ----------------------------------------------------------- */

static void roff_line(struct roff *roff, char *line);

static void request_break(struct roff *roff, char *arguments)
{
    (void)arguments;
    roff->kind = roff->code || roff->tagged ? LINE_NOTHING : LINE_BREAK;
}

/*
 * Text that is indented after a colon is an example; after a single line that
 * is no sentence, it explains that line.
 */
static void request_indent(struct roff *roff, char *arguments)
{
    if (roff->last == ':') {
        roff->display = true;
        roff->kind = LINE_BREAK;
    } else if (roff->prose == 1 && !roff->tagged && !roff->code && roff->last != '.') {
        text_add(&roff->line, "—");
        roff->kind = LINE_PROSE;
    } else {
        request_break(roff, arguments);
    }
}

static void request_code(struct roff *roff, char *arguments)
{
    (void)arguments;
    roff->code = true;
}

static void request_code_end(struct roff *roff, char *arguments)
{
    (void)arguments;
    roff->code = false;
}

static void request_display(struct roff *roff, char *arguments)
{
    roff->code = strstr(arguments, "-literal") || strstr(arguments, "-unfilled");
    roff->kind = LINE_BREAK;
}

static void request_display_line(struct roff *roff, char *arguments)
{
    struct mdoc mdoc = {.prefix = ""};

    mdoc_arguments(roff, &mdoc, arguments);
    roff->kind = LINE_CODE;
}

static void request_heading(struct roff *roff, char *arguments)
{
    roff->code = roff->tag = false;
    roff->table = TABLE_NONE;
    add_arguments(roff, arguments, " ");
    roff->heading = roff->line.length == 0;
    roff->kind = LINE_HEADING;
}

static void request_words(struct roff *roff, char *arguments)
{
    add_arguments(roff, arguments, " ");
    roff->kind = LINE_PROSE;
}

static void request_joined(struct roff *roff, char *arguments)
{
    add_arguments(roff, arguments, "");
    roff->kind = LINE_PROSE;
}

static void request_option(struct roff *roff, char *arguments)
{
    text_add_char(&roff->line, '[');
    add_arguments(roff, arguments, " ");
    text_add_char(&roff->line, ']');
    roff->kind = LINE_PROSE;
}

static void request_tag(struct roff *roff, char *arguments)
{
    request_break(roff, arguments);
    roff->tag = true;
}

static void request_tag_more(struct roff *roff, char *arguments)
{
    (void)arguments;
    roff->tag = true;
}

static void request_item(struct roff *roff, char *arguments)
{
    char *tag = next_argument(&arguments);

    if (tag == NULL || *tag == '\0') {
        roff->display = roff->last == ':';
        request_break(roff, arguments);
        return;
    }
    roff_inline(&roff->line, tag);
    roff->kind = LINE_ITEM;
}

static void request_mdoc_item(struct roff *roff, char *arguments)
{
    struct mdoc mdoc = {.prefix = ""};

    mdoc_arguments(roff, &mdoc, arguments);
    roff->code = false;
    roff->kind = LINE_ITEM;
}

static void skip_until(struct roff *roff, const char *end)
{
    size_t length = strnlen(end, sizeof(roff->end) - 1);
    memcpy(roff->end, end, length);
    roff->end[length] = '\0';
}

static void request_define(struct roff *roff, char *arguments)
{
    const char *end;

    next_argument(&arguments);
    end = next_argument(&arguments);
    skip_until(roff, end ? end : ".");
}

static void request_ignore(struct roff *roff, char *arguments)
{
    const char *end = next_argument(&arguments);
    skip_until(roff, end ? end : ".");
}

static void request_equation(struct roff *roff, char *arguments)
{
    (void)arguments;
    skip_until(roff, "EN");
}

static void request_picture(struct roff *roff, char *arguments)
{
    (void)arguments;
    skip_until(roff, "PE");
}

static void request_table(struct roff *roff, char *arguments)
{
    (void)arguments;
    roff->table = TABLE_FORMAT;
    roff->cell = roff->row = false;
    roff->kind = LINE_BREAK;
}

static void request_table_end(struct roff *roff, char *arguments)
{
    (void)arguments;
    roff->table = TABLE_NONE;
    roff->kind = LINE_BREAK;
}

static int count_braces(const char *line)
{
    int count = 0;

    for (; (line = strchr(line, '\\')) != NULL && line[1]; line += 2)
        count += line[1] == '{' ? 1 : line[1] == '}' ? -1 : 0;
    return count;
}

/* Reads what is on the line of a condition that holds, or skips its block. */
static void conditional(struct roff *roff, bool holds, char *rest)
{
    if (!holds) {
        int braces = count_braces(rest);
        roff->skipped = braces > 0 ? braces : 0;
        return;
    }
    rest = skip_blanks(rest);
    if (strncmp(rest, "\\{", 2) == 0)
        rest = skip_blanks(rest + 2);
    if (*rest && strcmp(rest, "\\") != 0)
        roff_line(roff, rest);
}

/* The conditions that hold on a terminal of groff: n, !t and .g. */
static void request_if(struct roff *roff, char *arguments)
{
    static const char *const true_ones[] = {"n ", "!t ", "\\n(.g ", "\\n[.g] ", "n\\{", "n."};
    char *rest = skip_blanks(arguments);

    for (size_t i = 0; i < sizeof(true_ones) / sizeof(true_ones[0]); i++)
        if (strncmp(rest, true_ones[i], strlen(true_ones[i])) == 0) {
            roff->otherwise = false;
            conditional(roff, true, rest + strcspn(rest, " \t"));
            return;
        }
    roff->otherwise = true;
    conditional(roff, false, rest);
}

static void request_else(struct roff *roff, char *arguments)
{
    bool holds = roff->otherwise;

    roff->otherwise = false;
    conditional(roff, holds, arguments);
}

static const struct request {
    char name[4];
    void (*read)(struct roff *roff, char *arguments);
} requests[] = {
    {"B", request_words},         {"BI", request_joined},   {"BR", request_joined},
    {"Bd", request_display},      {"Bl", request_break},    {"D1", request_display_line},
    {"Dl", request_display_line}, {"EE", request_code_end}, {"EQ", request_equation},
    {"EX", request_code},         {"Ed", request_code_end}, {"El", request_break},
    {"HP", request_break},        {"I", request_words},     {"IB", request_joined},
    {"IP", request_item},         {"IR", request_joined},   {"It", request_mdoc_item},
    {"LP", request_break},        {"ME", request_joined},   {"MT", request_words},
    {"OP", request_option},       {"P", request_break},     {"PP", request_break},
    {"PS", request_picture},      {"Pp", request_break},    {"RB", request_joined},
    {"RE", request_break},        {"RI", request_joined},   {"RS", request_indent},
    {"SB", request_words},        {"SH", request_heading},  {"SM", request_words},
    {"SS", request_heading},      {"SY", request_words},    {"Sh", request_heading},
    {"Sp", request_break},        {"Ss", request_heading},  {"TE", request_table_end},
    {"TP", request_tag},          {"TQ", request_tag_more}, {"TS", request_table},
    {"UE", request_joined},       {"UR", request_words},    {"URL", request_words},
    {"Vb", request_code},         {"Ve", request_code_end}, {"am", request_define},
    {"de", request_define},       {"de1", request_define},  {"el", request_else},
    {"fi", request_code_end},     {"ie", request_if},       {"if", request_if},
    {"ig", request_ignore},       {"nf", request_code},     {"sp", request_break},
};

static int compare_request(const void *name, const void *request)
{
    return strcmp(name, ((const struct request *)request)->name);
}

static void roff_request(struct roff *roff, char *line)
{
    const struct request *request;
    char *name = skip_blanks(line + 1);
    size_t length = strcspn(name, " \t\\");
    char word[8] = "";

    cut_comment(name);
    if (length == 0 || length >= sizeof(word))
        return;
    memcpy(word, name, length);
    request = bsearch(word, requests, sizeof(requests) / sizeof(requests[0]), sizeof(requests[0]),
                      compare_request);
    if (request)
        request->read(roff, name + length);
    else if (mdoc_find(word))
        mdoc_line(roff, word, name + length);
}

/* ---- lines -------------------------------------------------------------- */

/* A row is an item; its cells are separated by tabs, long ones by T{ and T}. */
static void roff_row(struct roff *roff, char *line)
{
    bool starts = !roff->cell;
    bool blank;
    size_t length;

    if (strncmp(line, "T}", 2) == 0) {
        roff->cell = starts = false;
        line += 2;
    }
    length = strlen(line);
    if (length >= 2 && strcmp(line + length - 2, "T{") == 0) {
        roff->cell = true;
        line[length - 2] = '\0';
    }
    starts = starts || roff->row;
    blank = line[strspn(line, "_=- \t")] == '\0';
    roff->row = blank && starts;
    if (blank)
        return;
    for (char *tab = line; (tab = strchr(tab, '\t')) != NULL;)
        *tab = ' ';
    roff_inline(&roff->line, line);
    roff->kind = starts ? LINE_ITEM : LINE_PROSE;
}

static void roff_format(struct roff *roff, const char *line)
{
    size_t length = strlen(line);

    if (length > 0 && line[length - 1] == '.')
        roff->table = TABLE_ROWS;
}

static bool is_blank(const char *string)
{
    return string[strspn(string, " \t")] == '\0';
}

static void roff_prose(struct roff *roff, const char *line)
{
    bool shell = strncmp(skip_blanks((char *)line), "$ ", 2) == 0;

    roff_inline(&roff->line, line);
    if (is_blank(line))
        request_break(roff, NULL);
    else
        roff->kind = shell || (roff->shell && *line == ' ') ? LINE_CODE : LINE_PROSE;
}

static void roff_line(struct roff *roff, char *line)
{
    if (roff->end[0]) {
        if ((*line == '.' || *line == '\'') && strcmp(line + 1, roff->end) == 0)
            roff->end[0] = '\0';
    } else if (roff->skipped > 0) {
        roff->skipped += count_braces(line);
    } else if (*line == '.' || *line == '\'') {
        roff_request(roff, line);
    } else if (roff->table == TABLE_ROWS) {
        roff_row(roff, line);
    } else if (roff->table == TABLE_FORMAT) {
        roff_format(roff, line);
    } else {
        roff_prose(roff, line);
    }
}

static bool is_bullet(const char *string)
{
    static const char *const bullets[] = {"•", "*", "o", "-", "○", "·", "–", "—", "□"};

    for (size_t i = 0; i < sizeof(bullets) / sizeof(bullets[0]); i++)
        if (strcmp(string, bullets[i]) == 0)
            return true;
    return false;
}

/* The kind of a line of text follows from what was said before. */
static void roff_decide(struct roff *roff)
{
    if (roff->kind == LINE_PROSE && is_blank(roff->line.data))
        roff->kind = LINE_NOTHING;
    if (roff->kind != LINE_PROSE && (roff->kind != LINE_CODE || roff->code))
        return;
    if (roff->heading)
        roff->kind = LINE_HEADING;
    else if (roff->tag)
        roff->kind = LINE_ITEM;
    else if (roff->code || roff->display)
        roff->kind = LINE_CODE;
    else if (is_bullet(roff->line.data))
        roff->kind = LINE_ITEM;
}

static void put_item(struct roff *roff, const char *tag)
{
    size_t length = strlen(tag);

    text_add(&roff->out, "* ");
    if (!is_bullet(tag))
        text_add(&roff->out, tag);
    if (roff->table == TABLE_NONE && length > 0 && !is_bullet(tag) &&
        !strchr(".:;,!?", tag[length - 1]))
        text_add_char(&roff->out, ':');
}

static void put_text(struct roff *roff, const char *string)
{
    static const char *const starts[] = {[LINE_HEADING] = "# ", [LINE_CODE] = "    "};

    if (roff->kind != LINE_CODE)
        string += strspn(string, " \t");
    if (roff->kind == LINE_PROSE && *string == '#')
        text_add_char(&roff->out, ' ');
    if (starts[roff->kind])
        text_add(&roff->out, starts[roff->kind]);
    text_add(&roff->out, string);
}

static void roff_put(struct roff *roff)
{
    const char *string;

    text_add(&roff->line, "");
    if (roff->line.failed)
        return;
    string = roff->line.data;
    roff_decide(roff);
    if (roff->kind == LINE_HEADING && is_blank(string))
        roff->kind = LINE_BREAK;
    if (roff->kind == LINE_NOTHING)
        text_add_char(&roff->out, ' ');
    else if (roff->kind == LINE_ITEM)
        put_item(roff, string);
    else if (roff->kind != LINE_BREAK)
        put_text(roff, string);
    text_add_char(&roff->out, '\n');
}

/* What a line leaves for the next one. */
static void roff_advance(struct roff *roff)
{
    const struct text *line = &roff->line;

    if (roff->kind >= LINE_PROSE) {
        roff->heading = roff->tag = false;
        roff->tagged = roff->kind == LINE_ITEM;
        roff->shell = roff->kind == LINE_CODE;
        roff->last = line->length > 0 ? line->data[line->length - 1] : '\0';
        roff->prose = roff->kind == LINE_PROSE ? roff->prose + 1 : 0;
    }
    if (roff->kind == LINE_HEADING || roff->kind == LINE_ITEM)
        roff->display = false;
    if (roff->kind == LINE_BREAK) {
        roff->shell = false;
        roff->prose = 0;
        roff->display = roff->display && roff->last == ':';
    }
    roff->line.length = 0;
    roff->kind = LINE_NOTHING;
}

char *roff_text(const char *source)
{
    struct roff roff = {.kind = LINE_NOTHING};
    char *copy = strdup(source);
    char *rest = copy;
    char *line;

    roff.out.failed = copy == NULL;
    while (rest && *rest) {
        line = strsep(&rest, "\n");
        roff_line(&roff, line);
        roff_put(&roff);
        roff_advance(&roff);
    }
    roff.out.failed |= roff.line.failed;
    text_finish(&roff.line);
    free(copy);
    return text_take(&roff.out);
}
