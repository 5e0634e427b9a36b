package stream

import (
	"net/url"
	"strings"
)

// legible are the characters that url.Values.Encode escapes though a query may hold them (RFC 3986, section 3.4). A command is sent in the query,
// and gateways limit the length of a request line: nginx to 8,192 bytes.
var legible = strings.NewReplacer(
	"%21", "!", "%24", "$", "%28", "(", "%29", ")", "%2A", "*", "%2C", ",", "%2F", "/", "%3A", ":", "%3D", "=", "%3F", "?", "%40", "@",
)

// encode is q.Encode with no more escapes than a query needs. No name in q holds a =.
func encode(q url.Values) string { return legible.Replace(q.Encode()) }
