package notice

import (
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// maxMessage is the longest message, in characters.
const maxMessage = 2000

// maxRead is the maximum amount of text that Clean reads, in bytes. It is
// larger than maxMessage because URLs are shortened before the text is cut.
const maxRead = 32 << 10

// Clean returns untrusted text as one line that is safe to print on a terminal:
//
//   - Tabs, line feeds, carriage returns, and line and paragraph separators
//     become spaces.
//   - Other control and format characters become escapes such as \x1b. They can
//     begin an escape sequence or change the text direction.
//   - The user info and the query of URLs are removed.
//   - A result longer than 2,000 characters is cut.
func Clean(text string) string {
	text = text[:min(len(text), maxRead)]
	text = withoutSecrets(strings.TrimSpace(strings.ToValidUTF8(text, "\uFFFD")))
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\n' || r == '\r' || r == '\t' || unicode.In(r, unicode.Zl, unicode.Zp):
			b.WriteByte(' ')
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		default:
			b.WriteRune(r)
		}
	}
	return cut(b.String())
}

// withoutSecrets removes user info and query from the URLs in text. User info
// may hold a password; a query may hold a token, or, in a server's message
// about a failed exec, the whole script of kshell.
func withoutSecrets(text string) string {
	var b strings.Builder
	for {
		head, rest, found := strings.Cut(text, "://")
		b.WriteString(head)
		if !found {
			return b.String()
		}
		end := endOfURL(head, rest)
		b.WriteString("://" + publicURL(rest[:end]))
		text = rest[end:]
	}
}

// endOfURL returns where a URL ends in rest. head is the text before its "://",
// and rest the text after it. If a quotation mark precedes the scheme, the URL
// ends at the next quotation mark of the same kind that is not escaped.
// Otherwise, or if there is no such mark, the URL ends at the first white space
// or quotation mark.
func endOfURL(head, rest string) int {
	before := strings.TrimRightFunc(head, func(r rune) bool {
		return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("+-.", r)
	})
	if before != "" && strings.IndexByte("\"'`", before[len(before)-1]) >= 0 {
		for i := 0; i < len(rest); i++ {
			switch rest[i] {
			case '\\':
				i++ // an escaped character does not end the URL
			case before[len(before)-1]:
				return i
			}
		}
	}
	if end := strings.IndexAny(rest, " \t\r\n\"'`"); end >= 0 {
		rest = rest[:end]
	}
	return len(strings.TrimRight(rest, ",.;:)>")) // punctuation at the end belongs to the sentence
}

// authority matches a host and port without user info (RFC 3986, 3.2). The port
// may be PORT, a placeholder in kshell's hints.
var authority = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([^:@\[\]]*|\[[^@\[\]]*\])(:[0-9]*|:PORT)?$`)
})

// publicURL returns url, the part of a URL after its "://", without user info
// and query. User info that is not escaped properly may contain any character.
// In that case publicURL removes everything up to the last @ or, if there is no
// @, everything.
func publicURL(url string) string {
	host := url
	if i := strings.IndexAny(url, "/?#"); i >= 0 {
		host = url[:i]
	}
	if !authority().MatchString(host) {
		i := strings.LastIndexByte(url, '@')
		if i < 0 {
			return "…"
		}
		url = url[i+1:]
	}
	path, _, hasQuery := strings.Cut(url, "?")
	if hasQuery {
		path += "?…"
	}
	return path
}

// cut returns the first maxMessage characters of text.
func cut(text string) string {
	if utf8.RuneCountInString(text) <= maxMessage {
		return text
	}
	return string([]rune(text)[:maxMessage]) + "…"
}
