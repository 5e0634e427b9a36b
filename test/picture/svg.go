package picture

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Sizes in pixels. A font is scaled to the width of a cell.
const (
	cellWidth  = 8.4
	cellHeight = 18
	baseline   = 13.5
	margin     = 14
	barHeight  = 34 // of the bar with the caption
)

// pause is how long the last screen is shown before the animation is repeated,
// in seconds.
const pause = 5

// style is for light and dark pages: the picture has its own background. A
// program that does not animate shows the last screen, as does a browser if the
// user prefers no motion.
const style = `text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;` +
	`white-space:pre;fill:#dce3ea}` +
	`.r{fill:#dce3ea}.n{fill:#14191f}.c{font-weight:bold;fill:#9ad0ff}.h{opacity:0}` +
	`g{animation:%ss step-end infinite}` +
	`@media(prefers-reduced-motion:reduce){g{animation:none!important}}`

// SVG returns the recording as an animated SVG. It is the same in each call.
func (c *Cast) SVG() []byte {
	end := 0.0
	for _, e := range c.Events {
		end = max(end, e.Time)
	}
	end += pause
	width, height := float64(c.Width)*cellWidth+2*margin, float64(c.Height*cellHeight+2*margin+barHeight)
	groups := newGroups(end)
	for _, s := range c.segments(end) {
		groups.add(s.begin, s.end, s.svg())
	}
	c.addCaptions(groups, end)
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %s %s" width="%[1]s" height="%[2]s">`,
		number(width), number(height))
	fmt.Fprintf(&b, "\n<title>%s</title>\n<style>"+style+"%s</style>\n",
		escape(c.Title), number(end), groups.keyframes())
	fmt.Fprintf(&b, `<rect width="%s" height="%s" rx="8" fill="#14191f" stroke="#5b6672"/>`+"\n",
		number(width), number(height))
	fmt.Fprintf(&b, `<path d="M0 %s H%s" stroke="#5b6672"/>`+"\n", number(height-barHeight), number(width))
	groups.write(&b)
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// addCaptions adds the texts of the markers, each until the next one.
func (c *Cast) addCaptions(groups *groups, end float64) {
	var markers []Event
	for _, e := range c.Events {
		if e.Code == Marker {
			markers = append(markers, e)
		}
	}
	y := float64(c.Height*cellHeight + 2*margin + barHeight/2 + 5)
	for i, m := range markers {
		until := end
		if i+1 < len(markers) {
			until = markers[i+1].Time
		}
		if m.Data != "" {
			groups.add(m.Time, until,
				fmt.Sprintf(`<text class="c" x="%s" y="%s">%s</text>`, number(margin), number(y), escape(m.Data)))
		}
	}
}

// svg returns the elements of the segment.
func (s *segment) svg() string {
	text, class, box := s.text(), "", ""
	x, y := margin+float64(s.column)*cellWidth, float64(margin+s.row*cellHeight)
	width := float64(len(s.cells)) * cellWidth
	if s.cells[0].reverse {
		class = ` class="n"`
		box = fmt.Sprintf(`<rect class="r" x="%s" y="%s" width="%s" height="%d"/>`,
			number(x), number(y), number(width), cellHeight)
	}
	if strings.TrimSpace(text) == "" {
		return box
	}
	length := ""
	if utf8.RuneCountInString(text) > 1 {
		length = fmt.Sprintf(` textLength="%s"`, number(width))
	}
	return box + fmt.Sprintf(`<text%s x="%s" y="%s"%s xml:space="preserve">%s</text>`,
		class, number(x), number(y+baseline), length, escape(text))
}

// groups are the elements that are shown at the same times.
type groups struct {
	end   float64
	all   []*group
	byKey map[[2]float64]*group
}

type group struct {
	begin, end float64
	elements   []string
}

func newGroups(end float64) *groups { return &groups{end: end, byKey: map[[2]float64]*group{}} }

func (g *groups) add(begin, end float64, element string) {
	if end <= begin || element == "" {
		return
	}
	key := [2]float64{begin, end}
	if g.byKey[key] == nil {
		g.byKey[key] = &group{begin: begin, end: end}
		g.all = append(g.all, g.byKey[key])
	}
	g.byKey[key].elements = append(g.byKey[key].elements, element)
}

// keyframes returns the rules that show each group from its begin to its end.
func (g *groups) keyframes() string {
	var b strings.Builder
	for i, one := range g.all {
		fmt.Fprintf(&b, "\n@keyframes k%d{", i)
		if one.begin > 0 {
			fmt.Fprintf(&b, "0%%{opacity:0}")
		}
		fmt.Fprintf(&b, "%s%%{opacity:1}", number(100*one.begin/g.end))
		if one.end < g.end {
			fmt.Fprintf(&b, "%s%%{opacity:0}", number(100*one.end/g.end))
		}
		b.WriteString("}")
	}
	return b.String() + "\n"
}

func (g *groups) write(w io.Writer) {
	for i, one := range g.all {
		class := ""
		if one.end < g.end {
			class = ` class="h"`
		}
		fmt.Fprintf(w, "<g%s style=\"animation-name:k%d\">%s</g>\n", class, i, strings.Join(one.elements, ""))
	}
}

// number returns x with at most three digits after the point.
func number(x float64) string {
	return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(x, 'f', 3, 64), "0"), ".")
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder does not fail
	return b.String()
}
