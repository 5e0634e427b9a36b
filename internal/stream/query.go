package stream

import (
	"net/url"
	"strings"
)

// legible undoes the escaping of those characters that a query may contain (RFC
// 3986, section 3.4), but that url.Values.Encode escapes nevertheless. The
// query must be short, because it contains the command, and gateways limit the
// length of a request line (nginx: 8,192 bytes).
var legible = strings.NewReplacer(
	"%21", "!", "%24", "$", "%28", "(", "%29", ")", "%2A", "*", "%2C", ",",
	"%2F", "/", "%3A", ":", "%3D", "=", "%3F", "?", "%40", "@",
)

// encode encodes q like q.Encode, but escapes only what must be escaped in a
// query. The names in q must not contain "=", which encode would leave
// unescaped.
func encode(q url.Values) string { return legible.Replace(q.Encode()) }
