package terminal

import (
	"slices"
	"testing"
	"unicode/utf8"
)

func TestWidthCountsColumns(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, "wooo/shop": 9, "建置": 4, "e\u0301": 1, "a\u200bb": 2, "■ ⬢": 3, "🙂": 2,
		"\x1b[31mred\x1b[0m": 3, "\xff": 1,
	} {
		if got := Width(text); got != want {
			t.Errorf("%q: %d columns, want %d", text, got, want)
		}
	}
}

func TestATextIsCutInItsMiddle(t *testing.T) {
	utf8, ascii := Style{UTF8: true}, Style{}
	for _, tt := range []struct {
		style Style
		text  string
		n     int
		want  string
	}{
		{utf8, "wooo/shop build #19", 19, "wooo/shop build #19"},
		{utf8, "wooo/shop build #19", 11, "wooo/…d #19"},
		{ascii, "wooo/shop build #19", 11, "wooo/.. #19"},
		{utf8, "建置建置建置", 7, "建置…置"},
		{utf8, "e\u0301e\u0301e\u0301e\u0301", 3, "e\u0301…e\u0301"},
		{utf8, "shop", 2, "sh"}, {utf8, "shop", 0, ""}, {utf8, "shop", -3, ""},
		{ascii, "建", 20, `\u5efa`},
	} {
		if got := tt.style.Cut(tt.text, tt.n); got != tt.want {
			t.Errorf("%q in %d: %q, want %q", tt.text, tt.n, got, tt.want)
		}
	}
}

func TestAPaintedLineIsClippedWithoutItsColours(t *testing.T) {
	if got, want := Clip("\x1b[31mred\x1b[0m line", 2), "\x1b[31mre\x1b[0m"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestALongTextIsFoldedAtSpaces(t *testing.T) {
	got := Style{UTF8: true}.Fold("1 job waits. Longest: aaaaaaaaaaaaaaaaaaaa", 12, "  ")
	if want := []string{"1 job waits.", "  Longest:", "  aaaaa…aaaa"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := (Style{}).Fold("", 10, ""); !slices.Equal(got, []string{""}) {
		t.Errorf("%q", got)
	}
}

func FuzzTextFitsAnyWidth(f *testing.F) {
	f.Add("wooo/shop 建置 e\u0301", 5)
	f.Add("\x1b[31", 0)
	f.Fuzz(func(t *testing.T, text string, n int) {
		n %= 300
		for _, s := range []Style{{}, {UTF8: true}} {
			if got := s.Cut(text, n); Width(got) > max(n, 0) || utf8.ValidString(text) && !utf8.ValidString(got) {
				t.Fatalf("Cut(%q, %d): %q", text, n, got)
			}
		}
		if got := Clip(text, n); Width(got) > max(n, 0) {
			t.Fatalf("Clip(%q, %d): %q", text, n, got)
		}
	})
}
