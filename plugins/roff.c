/*
 * A line of roff is either text or a request, which starts with '.' or "'". A condition is
 * a request with the rest of a line after it, which may be a condition again; roff_line()
 * reads at most CONDITIONS_MAX of them. roff_line() reads a line and collects its readable text in
 * roff->line; roff_put() writes that as one line in the form of passage.h. What a request says
 * about the lines after it (the next line is a heading or a tag; code starts here) is a member of
 * struct roff.
 *
 * To add a request or a macro of man, add it to read_request(); to add a macro of mdoc
 * that may stand inside a line, add it to inlines[]. All others are left out.
 */
#include "roff.h"

#include "text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define CONDITIONS_MAX 16 /* on one line; what follows them is left out */

enum kind { NOTHING, BREAK, PROSE, HEADING, ITEM, CODE };

struct roff {
    struct text out;
    struct text line; /* the readable text of the present line */
    enum kind kind;
    char name[64];  /* the text of mdoc's Nm without arguments */
    bool left_out;  /* until a line "..", as in the definition of a macro */
    int skipped;    /* open braces of a conditional that does not hold */
    bool otherwise; /* the next .el holds */
    bool code;      /* between .nf and .fi */
    bool heading;   /* the next line of text is a heading */
    bool tag;       /* the next line of text is the tag of an item */
    bool tagged;    /* the previous line was a tag: no paragraph ends here */
    bool display;   /* indented text after a colon is code */
    bool format;    /* at the start of a table, before its rows */
    bool table;     /* in its rows */
    char last;      /* the last character of text */
};

/* ---- escapes ------------------------------------------------------------ */

/* Each has a name of two characters, and the text that the name stands for. */
static const char *const characters[] = {
    "bu•", "em—", "en–", "hy-", "mi-",  "aq'", "dq\"", "lq“",  "rq”", "oq‘", "cq’", "ga`", "ha^",
    "ti~", "sl/", "co©", "rg®", "rs\\", "de°", "mu×",  "+-±",  "<=≤", ">=≥", "!=≠", "->→", "<-←",
    "at@", "sh#", "Do$", "lB[", "rB]",  "lC{", "rC}",  "ba|",  "or|", "ul_", "pl+", "eq=", "sc§",
    "ss",  ":aä", ":oö", ":uü", ":AÄ",  ":OÖ", ":UÜ",  "'eé",  "`eè", "'aá", ",cç", "~nñ", "oaå",
    "la<", "ra>", "*mμ", "Fo«", "Fc»",  "Aq'", "L\"“", "R\"”", "Lt<", "Gt>", "Am&", "Ba|", "tm™",
};

/* Read X, (XX or [XXX] at *at into name. */
static void escape_name(const char **at, char *name, size_t size)
{
    const char *start = *at + (**at == '(' || **at == '[');
    size_t length = **at == '(' ? strnlen(start, 2) : **at == '[' ? strcspn(start, "]") : **at != 0;

    *at = start + length + (**at == '[' && start[length] == ']');
    if (length >= size)
        length = size - 1;
    memcpy(name, start, length);
    name[length] = '\0';
}

/* Read the escape after a backslash. Return the text after the escape. */
static const char *escape(struct text *out, const char *at)
{
    char c = *at;
    char name[32];

    at += c && c != '(' && c != '[';
    if (is_char("-'`_. ~0te\\E", c)) {
        text_add_char(out, is_char(" ~0t", c) ? ' ' : is_char("e\\E", c) ? '\\' : c);
    } else if (is_char("([*", c)) {
        escape_name(&at, name, sizeof(name));
        if (name[0] == 'u' && strlen(name) >= 5)
            text_add_rune(out, (unsigned)strtoul(name + 1, NULL, 16));
        for (size_t i = 0; strlen(name) == 2 && i < sizeof(characters) / sizeof(char *); i++)
            if (strncmp(characters[i], name, 2) == 0)
                text_add(out, characters[i] + 2);
    } else if (is_char("fFmMngkVYOs", c)) {
        at += *at == '+' || *at == '-';
        if (c == 's' && *at >= '1' && *at <= '3' && isdigit((unsigned char)at[1]))
            return at + 2;
        escape_name(&at, name, sizeof(name));
    } else if (is_char("hvwXDblLNoZxABCRSH", c) && *at) {
        const char *end = strchr(at + 1, *at);
        at = end ? end + 1 : at + strlen(at);
    }
    return at;
}

static void put_words(struct text *out, const char *string)
{
    while (*string) {
        size_t plain = strcspn(string, "\\");
        text_add_bytes(out, string, plain);
        string += plain;
        if (*string == '\\')
            string = escape(out, string + 1);
        while ((*string & 0xc0) == 0x80)
            string++; /* the rest of a character that was part of the escape */
    }
}

/* ---- arguments ---------------------------------------------------------- */

static char *skip_blanks(char *string)
{
    return string + strspn(string, " \t");
}

/* Return the next argument, which is ended with NUL in place, or NULL after the last. */
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

static void put_arguments(struct roff *roff, char *arguments, const char *between)
{
    const char *word = next_argument(&arguments);

    while (word) {
        put_words(&roff->line, word);
        word = next_argument(&arguments);
        if (word)
            text_add(&roff->line, between);
    }
    roff->kind = PROSE;
}

static bool is_one_of(const char *name, const char *list)
{
    return is_listed(list, name, strlen(name));
}

/* ---- mdoc --------------------------------------------------------------- */

static const struct inline_macro {
    const char *names;
    const char *open;
    const char *close; /* at the end of the line */
} inlines[] = {
    {" An Ar Cm Dv Em Er Ev Fa Fn Ft Ic Li Lk Mt Nm No Ns Oc Oo Pa Sy Tn Va Vt Xc Xo Xr ", "", ""},
    {" Fl ", "-", ""},
    {" Nd ", "-", ""},
    {" Aq In ", "<", ">"},
    {" Bq Op ", "[", "]"},
    {" Pq ", "(", ")"},
    {" Dq Sx ", "“", "”"},
    {" Ql Sq ", "‘", "’"},
    {" Qq ", "\"", "\""},
};

static const struct inline_macro *find_inline(const char *name)
{
    for (size_t i = 0; strlen(name) == 2 && i < sizeof(inlines) / sizeof(inlines[0]); i++)
        if (is_listed(inlines[i].names, name, 2))
            return &inlines[i];
    return NULL;
}

static bool is_delimiter(const char *word)
{
    return is_char(".,:;)]?!", *word) && (word[1] == '\0' || is_char(" \t", word[1]));
}

/* Read the words of a line, some of which are macros. */
static void read_mdoc(struct roff *roff, char *arguments)
{
    const char *closers[8];
    size_t open = 0;
    bool glue = true;
    char *word;

    while ((word = next_argument(&arguments)) != NULL) {
        const struct inline_macro *macro = find_inline(word);
        while (open > 0 && is_blank(arguments) && is_delimiter(word))
            text_add(&roff->line, closers[--open]);
        glue |= strcmp(word, "Ns") == 0;
        if (macro && *macro->open == '\0')
            continue;
        if (!glue && roff->line.length > 0 && !is_delimiter(word))
            text_add_char(&roff->line, ' ');
        put_words(&roff->line, macro ? macro->open : word);
        if (macro && *macro->close && open < sizeof(closers) / sizeof(closers[0]))
            closers[open++] = macro->close;
        glue = macro && *macro->open && strcmp(word, "Nd") != 0;
    }
    while (open > 0)
        text_add(&roff->line, closers[--open]);
    roff->kind = PROSE;
}

/* Read Nm: the first one gives the page's name, later ones stand for the name. */
static void read_name(struct roff *roff, const char *given)
{
    size_t length = strcspn(given, " \t");

    if (length == 0 || is_delimiter(given))
        text_add(&roff->line, roff->name);
    else if (roff->name[0] == '\0' && length < sizeof(roff->name))
        memcpy(roff->name, given, length);
}

/* ---- requests ----------------------------------------------------------- */

static void read_break(struct roff *roff)
{
    roff->kind = roff->code || roff->tagged ? NOTHING : BREAK;
}

static void read_heading(struct roff *roff, char *arguments)
{
    roff->code = roff->tag = roff->format = roff->table = false;
    put_arguments(roff, arguments, " ");
    roff->heading = roff->line.length == 0;
    roff->kind = HEADING;
}

/* Read an indentation: an item if it has a tag, an example if it follows a colon. */
static void read_indented(struct roff *roff, const char *tag)
{
    if (tag && *tag) {
        put_words(&roff->line, tag);
        roff->kind = ITEM;
    } else {
        roff->display = roff->last == ':';
        read_break(roff);
    }
}

static int count_braces(const char *line)
{
    int count = 0;

    for (; (line = strchr(line, '\\')) != NULL && line[1]; line += 2)
        count += line[1] == '{' ? 1 : line[1] == '}' ? -1 : 0;
    return count;
}

/*
 * Return the rest of a condition's line if the condition holds; otherwise skip its block and
 * return NULL. As on a terminal of groff, the conditions n, !t and .g hold.
 */
static char *read_condition(struct roff *roff, const char *name, char *rest)
{
    bool holds = roff->otherwise;
    size_t length = 0;
    int braces;

    if (*name == 'i') {
        rest = skip_blanks(rest);
        length = strcspn(rest, " \t");
        holds = is_listed(" n !t \\n(.g \\n[.g] ", rest, length);
    }
    roff->otherwise = *name == 'i' && !holds;
    rest = skip_blanks(rest + length);
    braces = count_braces(rest);
    if (!holds)
        roff->skipped = braces > 0 ? braces : 0;
    if (!holds || strncmp(rest, "\\{", 2) != 0)
        return holds ? rest : NULL;
    return rest[2] && rest[2] != '\\' ? skip_blanks(rest + 2) : NULL;
}

static void read_request(struct roff *roff, const char *name, char *arguments)
{
    if (is_one_of(name, " B I SM SB SY UR MT OP "))
        put_arguments(roff, arguments, " ");
    else if (is_one_of(name, " BI BR IB IR RB RI UE ME "))
        put_arguments(roff, arguments, "");
    else if (is_one_of(name, " SH SS Sh Ss "))
        read_heading(roff, arguments);
    else if (is_one_of(name, " IP "))
        read_indented(roff, next_argument(&arguments));
    else if (is_one_of(name, " RS "))
        read_indented(roff, NULL);
    else if (is_one_of(name, " P PP LP HP TP TQ Pp sp Sp RE Bl El Bd "))
        read_break(roff);
    else if (is_one_of(name, " It D1 Dl "))
        read_mdoc(roff, arguments);
    if (is_one_of(name, " nf EX Vb Bd fi EE Ve Ed It "))
        roff->code = is_one_of(name, " nf EX Vb ") || strstr(arguments, "-literal") ||
                     strstr(arguments, "-unfilled");
    if (is_one_of(name, " It D1 Dl "))
        roff->kind = *name == 'I' ? ITEM : CODE;
    roff->tag |= is_one_of(name, " TP TQ ");
    roff->left_out |= is_one_of(name, " de de1 am ig ");
    if (is_one_of(name, " TS TE ")) {
        roff->format = name[1] == 'S';
        roff->table = false;
        roff->kind = BREAK;
    }
}

/* Return the rest of the line after a condition that holds, or NULL. */
static char *read_dotted(struct roff *roff, char *line)
{
    char *name = skip_blanks(line);
    size_t length = strcspn(name, " \t\\");
    char word[4] = "";

    if (length == 0 || length >= sizeof(word))
        return NULL;
    memcpy(word, name, length);
    if (is_one_of(word, " if ie el "))
        return read_condition(roff, word, name + length);
    if (strcmp(word, "Nm") == 0)
        read_name(roff, skip_blanks(name + length));
    if (find_inline(word))
        read_mdoc(roff, name);
    else
        read_request(roff, word, name + length);
    return NULL;
}

/* ---- lines -------------------------------------------------------------- */

/* Read a row as an item. Tabs separate its cells; long cells stand between lines T{ and T}. */
static void read_row(struct roff *roff, char *line)
{
    char *cell = strstr(line, "T{");

    if (cell)
        *cell = '\0';
    line += strncmp(line, "T}", 2) == 0 ? 2 : 0;
    for (char *tab = line; (tab = strchr(tab, '\t')) != NULL;)
        *tab = ' ';
    roff->kind = line[strspn(line, "_=- ")] ? ITEM : NOTHING;
    if (roff->kind == ITEM)
        put_words(&roff->line, line);
}

/* Read a line. Return the rest of it after a condition that holds, or NULL. */
static char *read_line(struct roff *roff, char *line)
{
    if (roff->left_out) {
        roff->left_out = strcmp(line, "..") != 0;
    } else if (roff->skipped > 0) {
        roff->skipped += count_braces(line);
    } else if (*line == '.' || *line == '\'') {
        return read_dotted(roff, line + 1);
    } else if (roff->table) {
        read_row(roff, line);
    } else if (roff->format) {
        roff->table = *line && line[strlen(line) - 1] == '.';
        roff->format = !roff->table;
    } else if (is_blank(line)) {
        read_break(roff);
    } else {
        put_words(&roff->line, line);
        roff->kind = PROSE;
    }
    return NULL;
}

static void roff_line(struct roff *roff, char *line)
{
    for (char *at = line; (at = strchr(at, '\\')) != NULL && at[1]; at += 2)
        if (at[1] == '"' || at[1] == '#')
            *at = at[1] = '\0'; /* a comment */
    for (int count = 0; line && count <= CONDITIONS_MAX; count++)
        line = read_line(roff, line);
}

static bool is_bullet(const char *string)
{
    return is_one_of(string, " • * o - ○ · – — □ ");
}

/* Tell the kind of a line of text from the requests before it. */
static enum kind decide(const struct roff *roff, const char *string)
{
    if (is_blank(string) && (roff->kind == HEADING || roff->kind == PROSE))
        return roff->kind == HEADING ? BREAK : NOTHING;
    return roff->kind != PROSE              ? roff->kind
           : roff->heading                  ? HEADING
           : roff->tag || is_bullet(string) ? ITEM
           : roff->code || roff->display    ? CODE
                                            : PROSE;
}

/* Write the line and note its effects on the next one. */
static void roff_put(struct roff *roff, const char *string)
{
    static const char *const starts[] = {" ", "", "", "# ", "* ", "    "};

    roff->kind = decide(roff, string);
    if (roff->kind != CODE)
        string += strspn(string, " \t");
    text_add(&roff->out, roff->kind == PROSE && *string == '#' ? " " : starts[roff->kind]);
    if (roff->kind >= PROSE && !(roff->kind == ITEM && is_bullet(string)))
        text_add(&roff->out, string);
    if (roff->kind == ITEM && !roff->table && *string && !is_bullet(string) &&
        !is_char(".:;,!?", string[strlen(string) - 1]))
        text_add_char(&roff->out, ':');
    text_add_char(&roff->out, '\n');
    if (roff->kind >= PROSE) {
        roff->heading = roff->tag = false;
        roff->tagged = roff->kind == ITEM;
        roff->last = *string ? string[strlen(string) - 1] : '\0';
    }
    if (roff->kind == HEADING || roff->kind == ITEM || (roff->kind == BREAK && roff->last != ':'))
        roff->display = false;
    roff->kind = NOTHING;
}

char *roff_text(const char *source)
{
    struct roff roff = {.kind = NOTHING};
    char *copy = strdup(source);
    char *rest = copy;

    roff.out.failed = copy == NULL;
    while (rest && *rest && !roff.line.failed) {
        roff_line(&roff, strsep(&rest, "\n"));
        text_add(&roff.line, "");
        if (!roff.line.failed)
            roff_put(&roff, roff.line.data);
        roff.line.length = 0;
    }
    roff.out.failed |= roff.line.failed;
    text_finish(&roff.line);
    free(copy);
    return text_take(&roff.out);
}
