// Package headlamp sends the requests for a cluster through a Headlamp server.
// Headlamp is a dashboard whose backend is a proxy: BASE/clusters/NAME takes
// the place of the address of the API server of the cluster NAME.
//
//   - address.go: the address of a server, as a user types or pastes it
//   - server.go: what a server reports about itself (BASE/config)
//   - flatten.go: the kubeconfig that is uploaded for a stateless cluster
//   - route.go: the transport that adds headers and bypasses the server's cache
//   - refusal.go: the answers that come from Headlamp or a proxy, and not from
//     an API server
//
// It does not know pods, sessions, flags or settings.
//
// Invariants:
//
//   - The only credentials of a request are a bearer token, the token of the
//     desktop app, and an uploaded kubeconfig. Cookies are removed, because
//     Headlamp prefers them to the bearer token.
//   - The uploaded kubeconfig contains no credential plugin, no name of a file
//     and no proxy, because Headlamp would use them on its own host.
//   - No error contains a token or the uploaded kubeconfig.
//   - If only the path of an address suggests a Headlamp server, a *Refusal
//     explains an answer only after a request for BASE/config: its answer must
//     be that of a Headlamp, or a refusal of the same kind.
package headlamp
