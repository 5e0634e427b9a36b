package node

import (
	"math"
	"strings"
	"time"
	"unicode"

	corev1 "k8s.io/api/core/v1"
)

// DefaultHeartbeat is the time without a heartbeat after which a pod ends,
// unless its maker asked for another one; MinHeartbeat is the shortest.
const (
	DefaultHeartbeat = 5 * time.Minute
	MinHeartbeat     = 10 * time.Second
)

// The other limits of what is believed of a pod's annotations and deadline.
const (
	maxSpan     = 7 * 24 * time.Hour
	defaultSpan = 24 * time.Hour
	minTTL      = time.Minute
	maxTTL      = math.MaxInt32 * time.Second // the API's own limit of activeDeadlineSeconds
	maxText     = 64                          // characters
)

// Facts are what a pod of ours says about itself. Anyone who may edit the pod
// can write them: the durations are within limits, and the texts are short and
// printable, but none of it is proof.
type Facts struct {
	By, From string // the local user and host that made the pod; empty: not recorded
	TTL      time.Duration
	Stale    time.Duration // see Options
	Shell    bool          // one can come back to it
}

// FactsOf reads them.
func FactsOf(p *corev1.Pod) Facts {
	a := p.Annotations
	return Facts{
		By: printable(a[byAnnotation]), From: printable(a[fromAnnotation]), TTL: ttl(p),
		Stale: duration(p, staleAnnotation, MinHeartbeat, maxSpan, DefaultHeartbeat), Shell: a[kindAnnotation] == kindShell,
	}
}

// ClaimsCreator reports whether the pod says that this user made it on this
// host. A pod that does not say who made it claims nothing.
func (f Facts) ClaimsCreator(by, from string) bool {
	return f.By != "" && f.By == printable(by) && f.From == printable(from)
}

// ttl is how long the pod may run: its deadline, which the kubelet enforces,
// or else what its annotation says.
func ttl(p *corev1.Pod) time.Duration {
	if seconds := p.Spec.ActiveDeadlineSeconds; seconds != nil {
		return max(minTTL, time.Duration(min(max(0, *seconds), math.MaxInt32))*time.Second)
	}
	return duration(p, ttlAnnotation, minTTL, maxTTL, defaultSpan)
}

// startLimit is how long the pod's maker waits for it to start.
func startLimit(p *corev1.Pod) time.Duration {
	return duration(p, waitsAnnotation, time.Second, maxSpan, defaultSpan)
}

// duration parses an annotation and limits it to low and high. One that is
// missing, malformed or not positive is fallback.
func duration(p *corev1.Pod, annotation string, low, high, fallback time.Duration) time.Duration {
	d, err := time.ParseDuration(p.Annotations[annotation])
	if err != nil || d <= 0 {
		return fallback
	}
	return min(max(d, low), high)
}

// printable is a text of at most maxText characters, in which a question mark
// stands for each character that is not printable.
func printable(text string) string {
	var kept []rune
	for _, r := range strings.TrimSpace(text) {
		if len(kept) == maxText {
			kept[maxText-1] = '…'
			break
		}
		if !unicode.IsPrint(r) {
			r = '?'
		}
		kept = append(kept, r)
	}
	return string(kept)
}
