package pod

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func affinity(systems ...[]string) *corev1.Affinity {
	var terms []corev1.NodeSelectorTerm
	for _, values := range systems {
		terms = append(terms, corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{
			{Key: "zone", Operator: corev1.NodeSelectorOpExists},
			{Key: corev1.LabelOSStable, Operator: corev1.NodeSelectorOpIn, Values: values},
		}})
	}
	return &corev1.Affinity{
		NodeAffinity: &corev1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: terms},
		},
	}
}

func TestOS(t *testing.T) {
	for name, tt := range map[string]struct {
		spec corev1.PodSpec
		want corev1.OSName
	}{
		"nothing": {corev1.PodSpec{}, ""},
		"spec.os": {
			corev1.PodSpec{
				OS:           &corev1.PodOS{Name: corev1.Windows},
				NodeSelector: map[string]string{corev1.LabelOSStable: "linux"},
			},
			corev1.Windows,
		},
		"node selector": {
			corev1.PodSpec{NodeSelector: map[string]string{corev1.LabelOSStable: "windows"}}, corev1.Windows,
		},
		"affinity": {
			corev1.PodSpec{Affinity: affinity([]string{"windows"}, []string{"windows"})}, corev1.Windows,
		},
		"two affinities to different systems": {
			corev1.PodSpec{Affinity: affinity([]string{"windows"}, []string{"linux"})}, "",
		},
		"affinity to either of two systems": {corev1.PodSpec{Affinity: affinity([]string{"windows", "linux"})}, ""},
		"empty affinity": {corev1.PodSpec{Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{
					{Key: corev1.LabelOSStable, Operator: corev1.NodeSelectorOpIn, Values: []string{"windows"}},
				},
			}}},
		}}}, corev1.Windows},
		"affinity to another label": {corev1.PodSpec{Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{}},
			},
		}}}, ""},
	} {
		if got := OS(&corev1.Pod{Spec: tt.spec}); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func TestNodeOS(t *testing.T) {
	w := newFakeServer()
	w.objects["/api/v1/nodes/n1"] = corev1.Node{
		TypeMeta:   metav1.TypeMeta{Kind: "Node", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{corev1.LabelOSStable: "windows"}},
	}
	client := w.client(t)
	if got, err := client.NodeOS(t.Context(), &corev1.Pod{Spec: corev1.PodSpec{NodeName: "n1"}}); got != corev1.Windows ||
		err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := client.NodeOS(t.Context(), &corev1.Pod{Spec: corev1.PodSpec{NodeName: "n2"}}); got != "" ||
		err == nil ||
		!strings.Contains(err.Error(), `cannot get node "n2": `) {
		t.Errorf("%q, %v", got, err)
	}
}
