package stream

import (
	"net/url"
	"strings"
)

// legible replaces the escapes of characters that url.Values.Encode escapes
// although a query may contain them (RFC 3986, section 3.4). The query contains
// the command, and gateways limit the length of a request line (nginx: 8,192
// bytes).
var legible = strings.NewReplacer(
	"%21", "!", "%24", "$", "%28", "(", "%29", ")", "%2A", "*", "%2C", ",",
	"%2F", "/", "%3A", ":", "%3D", "=", "%3F", "?", "%40", "@",
)

// encode encodes q like q.Encode, but escapes only what must be escaped in a
// query. No name in q may contain "=".
func encode(q url.Values) string { return legible.Replace(q.Encode()) }
