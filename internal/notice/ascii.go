package notice

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ASCIIOnly reports whether the locale of the environment does not use UTF-8, and
// kshell's own texts must be ASCII. As in POSIX, the locale of characters is the
// first of LC_ALL, LC_CTYPE and LANG that is not empty, and C by default. On
// Windows, ASCIIOnly returns false: the console shows Unicode in any locale.
func ASCIIOnly() bool {
	if runtime.GOOS == "windows" {
		return false
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale := os.Getenv(name); locale != "" {
			locale = strings.ToLower(locale)
			return !strings.Contains(locale, "utf-8") && !strings.Contains(locale, "utf8")
		}
	}
	return true
}

// ASCII returns text in ASCII. An ellipsis becomes three periods, the micro sign of
// a duration becomes u, and other characters become escapes such as \u00e9.
func ASCII(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r < utf8.RuneSelf:
			b.WriteRune(r)
		case r == '…':
			b.WriteString("...")
		case r == 'µ':
			b.WriteByte('u')
		default:
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
	}
	return b.String()
}
