package node

import (
	"math"
	"strings"
	"time"
	"unicode"

	corev1 "k8s.io/api/core/v1"
)

// The default and the minimum of Options.HeartbeatTimeout.
const (
	DefaultHeartbeat = 5 * time.Minute
	MinHeartbeat     = 10 * time.Second
)

// Limits of the values in a pod's annotations and of its deadline.
const (
	maxDuration     = 7 * 24 * time.Hour // the limit of a duration in an annotation, except the TTL
	defaultDuration = 24 * time.Hour
	minTTL          = time.Minute
	maxTTL          = math.MaxInt32 * time.Second // the API's limit of activeDeadlineSeconds
	maxText         = 64                          // characters
)

// Facts are the annotations and the deadline of a kshell pod. They must not be
// trusted, because anyone who is allowed to edit the pod can change them.
// FactsOf limits the durations, and makes the texts short and printable.
type Facts struct {
	CreatedBy, CreatedFrom string        // see Options
	TTL                    time.Duration // see Options
	HeartbeatTimeout       time.Duration // see Options
	Shell                  bool          // the main process is a shell that clients can attach to
}

// FactsOf parses the annotations and the deadline of p.
func FactsOf(p *corev1.Pod) Facts {
	a := p.Annotations
	return Facts{
		CreatedBy:        printable(a[createdByAnnotation]),
		CreatedFrom:      printable(a[createdFromAnnotation]),
		TTL:              ttl(p),
		HeartbeatTimeout: duration(p, heartbeatAnnotation, MinHeartbeat, maxDuration, DefaultHeartbeat),
		Shell:            a[kindAnnotation] == kindShell,
	}
}

// ClaimsCreator reports whether the annotations name this user and host as the
// creator. It is false if the annotations name no user.
func (f Facts) ClaimsCreator(user, host string) bool {
	return f.CreatedBy != "" && f.CreatedBy == printable(user) && f.CreatedFrom == printable(host)
}

// ttl returns how long the pod may run: its activeDeadlineSeconds, which the
// kubelet enforces, or else the time in its annotation.
func ttl(p *corev1.Pod) time.Duration {
	if seconds := p.Spec.ActiveDeadlineSeconds; seconds != nil {
		return max(minTTL, time.Duration(min(max(0, *seconds), math.MaxInt32))*time.Second)
	}
	return duration(p, ttlAnnotation, minTTL, maxTTL, defaultDuration)
}

// startTimeout returns how long the creator of the pod waits for the pod to
// start.
func startTimeout(p *corev1.Pod) time.Duration {
	return duration(p, startTimeoutAnnotation, time.Second, maxDuration, defaultDuration)
}

// duration parses an annotation and limits it to [low, high]. It returns
// fallback if the annotation is missing, malformed or not positive.
func duration(p *corev1.Pod, annotation string, low, high, fallback time.Duration) time.Duration {
	d, err := time.ParseDuration(p.Annotations[annotation])
	if err != nil || d <= 0 {
		return fallback
	}
	return min(max(d, low), high)
}

// printable returns text cut to maxText characters, with a question mark for
// each character that is not printable.
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
