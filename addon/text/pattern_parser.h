// Regular expressions to grammar nodes; string_grammar.h says which. Recursive descent over the pattern's characters
// that builds nodes as it goes.
#ifndef HEARTH_TEXT_PATTERN_PARSER_H_
#define HEARTH_TEXT_PATTERN_PARSER_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "addon/base/status.h"
#include "addon/text/code_points.h"
#include "addon/text/grammar_nodes.h"

namespace hearth {

class PatternParser {
 public:
  // `anything`: the inside of any string.
  PatternParser(GrammarNodes& nodes, NodeId anything, std::string_view pattern)
      : nodes_(nodes), anything_(anything), pattern_(pattern) {}

  StatusOr<NodeId> Parse();

 private:
  // `places`: how many characters' beginnings there are when counted repeats are written out; the automaton may have to
  // keep as many stacks.
  struct Part {
    NodeId node;
    int64_t places;
  };

  // "`what` "...", where the parser stands, "is not enforced".
  Status Fail(const std::string& what) const;
  bool More() const { return at_ < pattern_.size(); }
  bool Take(char c);
  StatusOr<Part> Alternatives(int depth);
  StatusOr<Part> Terms(int depth);
  StatusOr<Part> Atom(int depth);
  Part Character(const CodePointSet& set);
  StatusOr<Part> Quantified(const Part& atom);
  bool Number(int* value);
  StatusOr<CodePointSet> BracketClass();
  // One character, maybe escaped, or a class such as \d, of which `out` becomes the whole and *single false.
  Status Element(CodePointSet* out, uint32_t* character, bool* single);
  bool Hex(size_t digits, uint32_t* value);

  GrammarNodes& nodes_;
  NodeId anything_;
  std::string_view pattern_;
  size_t at_ = 0;
  bool top_level_choice_ = false;
};

}  // namespace hearth

#endif  // HEARTH_TEXT_PATTERN_PARSER_H_
