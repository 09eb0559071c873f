// The grammar of docs/LAYOUTS.md is the parser's: sentences made of it at random are never refused as being none.
// DIPC_SEED=N makes others.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>

#include "layouts/parser.h"
#include "tests/sim/random.h"

namespace dipc::types_test {
namespace {

// EBNF: rules of alternatives of terms; a term is a word in quotes, a rule's name, or a group.
struct Term;
using Sequence = std::vector<Term>;
struct Term {
  enum class Kind { kWord, kRule, kGroup, kOption, kRepetition } kind = Kind::kWord;
  std::string text;
  std::vector<Sequence> alternatives;  // of groups, options and repetitions
};
using Grammar = std::map<std::string, std::vector<Sequence>>;

class GrammarReader {
 public:
  explicit GrammarReader(std::string text) : text_(std::move(text)) {}

  std::vector<Sequence> alternatives() {
    std::vector<Sequence> all(1);
    for (;;) {
      skip();
      if (at_ >= text_.size() || std::string_view(")]}").find(text_[at_]) != std::string_view::npos) return all;
      if (text_[at_] == '|') {
        ++at_;
        all.emplace_back();
      } else {
        all.back().push_back(term());
      }
    }
  }

 private:
  void skip() {
    for (;;) {
      at_ = std::min(text_.find_first_not_of(" \n", at_), text_.size());
      if (text_.compare(at_, 2, "(*") != 0) return;
      at_ = text_.find("*)", at_) + 2;
    }
  }

  Term term() {
    const char first = text_[at_];
    if (first == '"') {
      const std::size_t end = text_.find('"', at_ + 1);
      Term word{Term::Kind::kWord, text_.substr(at_ + 1, end - at_ - 1), {}};
      at_ = end + 1;
      return word;
    }
    if (first == '(' || first == '[' || first == '{') {
      ++at_;
      const auto kind = first == '('   ? Term::Kind::kGroup
                        : first == '[' ? Term::Kind::kOption
                                       : Term::Kind::kRepetition;
      Term group{kind, {}, alternatives()};
      ++at_;
      return group;
    }
    const std::size_t end = std::min(text_.find_first_not_of("abcdefghijklmnopqrstuvwxyz", at_), text_.size());
    EXPECT_GT(end, at_) << "the grammar has a " << first << " where a term begins";
    Term rule{Term::Kind::kRule, text_.substr(at_, end - at_), {}};
    at_ = std::max(end, at_ + 1);
    return rule;
  }

  std::string text_;
  std::size_t at_ = 0;
};

Grammar grammar_of(const std::string& path) {
  std::ifstream chapter(path);
  std::string line, name;
  std::map<std::string, std::string> texts;
  bool inside = false;
  while (std::getline(chapter, line)) {
    inside = inside || line == "## Grammar";
    if (!inside || line.rfind("    ", 0) != 0) continue;
    const std::size_t equals = line.find(" = ");
    if (line[4] != ' ' && equals != std::string::npos) {
      name = line.substr(4, line.find(' ', 4) - 4);
      line.erase(0, equals + 3);
    }
    texts[name] += line + "\n";
  }
  Grammar grammar;
  for (const auto& [rule, text] : texts) {
    if (rule != "scalar") grammar[rule] = GrammarReader(text).alternatives();  // it is told in words
  }
  return grammar;
}

// What stands for names of things that must be declared before.
constexpr const char* kDeclared =
    "enum { LENGTH = 4 }; enum shade { dark }; typedef int kind; struct point { int x; }; struct note { long mtype; "
    "};\n";

class Sentence {
 public:
  Sentence(const Grammar& grammar, sim::Random& random) : grammar_(grammar), random_(random) {}

  const std::vector<std::string>& make() {
    expand("file");
    return words_;
  }

 private:
  void expand(const std::string& rule) {
    if (rule == "number") return words_.push_back(std::to_string(random_.between(1, 99)));
    if (rule == "scalar") return words_.push_back(scalar());
    if (rule == "name") return words_.push_back(name());
    const auto found = grammar_.find(rule);
    ASSERT_NE(found, grammar_.end()) << rule << " is used and not told";
    rules_.push_back(rule);
    alternatives(found->second);
    rules_.pop_back();
  }

  // The first alternatives lead to an end; they are taken when the sentence is long enough.
  void alternatives(const std::vector<Sequence>& all) {
    const std::size_t chosen = is_long() ? 0 : static_cast<std::size_t>(random_.below(all.size()));
    for (const Term& term : all[chosen]) {
      switch (term.kind) {
        case Term::Kind::kWord:
          if (!term.text.empty()) words_.push_back(term.text);
          break;
        case Term::Kind::kRule:
          expand(term.text);
          break;
        case Term::Kind::kGroup:
          alternatives(term.alternatives);
          break;
        case Term::Kind::kOption:
          if (!is_long() && random_.chance(40)) alternatives(term.alternatives);
          break;
        case Term::Kind::kRepetition:
          while (!is_long() && random_.chance(rules_.size() == 1 ? 90 : 35)) alternatives(term.alternatives);
          break;
      }
    }
  }

  bool is_long() const { return words_.size() > 120; }

  std::string scalar() {
    return random_.pick(std::vector<std::string>{"char", "unsigned long int", "long long", "short", "double", "bool",
                                                 "_Bool", "int8_t", "uint64_t", "size_t", "time_t", "long unsigned"});
  }

  std::string name() {
    const std::string& rule = rules_.back();
    const std::string& before = words_.empty() ? rule : words_.back();
    if (rule == "constant" || rule == "key") return "LENGTH";
    if (rule == "member") return "c" + std::to_string(random_.below(1000));  // no counter's name
    if (rule == "layout") return "note";
    if (rule == "type" && before == "struct") return "point";
    if (rule == "type" && before == "enum") return "shade";
    if (rule == "type" || rule == "id" || before == ":") return "kind";
    return "n" + std::to_string(random_.below(1000));
  }

  const Grammar& grammar_;
  sim::Random& random_;
  std::vector<std::string> rules_;  // that are being expanded
  std::vector<std::string> words_;
};

std::string joined(const std::vector<std::string>& words) {
  std::string text = kDeclared;
  for (const std::string& word : words) text += word + " ";
  return text;
}

// What a parser says that found no sentence; it may still refuse what one says.
bool is_syntax(const Trouble& trouble) {
  for (const char* said : {": expected ", "no type that is known", "no attribute that is known"}) {
    if (trouble.what.find(said) != std::string::npos) return true;
  }
  return false;
}

TEST(TypesGrammar, SentencesOfItAreReadWhateverTheySay) {
  const char* given = std::getenv("DIPC_SEED");
  const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 0) : 1;
  sim::Random random(seed);
  const Grammar grammar = grammar_of(DIPC_DOCS "/LAYOUTS.md");
  ASSERT_GT(grammar.size(), 15U);
  int good = 0, broken = 0;
  for (int i = 0; i < 3000; ++i) {
    std::vector<std::string> words = Sentence(grammar, random).make();
    const std::string text = joined(words);
    const TypeFile file{"sentence", text};
    const auto types = parse_types({&file, 1});
    good += types ? 1 : 0;
    if (!types) {
      for (const Trouble& one : types.error()) ASSERT_FALSE(is_syntax(one)) << one.what << "\n" << text;
    }
    if (words.empty()) continue;
    // A word less is no sentence mostly, which is said: what is asserted above could be false.
    words.erase(words.begin() + static_cast<std::ptrdiff_t>(random.below(words.size())));
    const std::string shorter = joined(words);
    const TypeFile other{"shorter", shorter};
    const auto refused = parse_types({&other, 1});
    broken += !refused && std::any_of(refused.error().begin(), refused.error().end(), is_syntax) ? 1 : 0;
  }
  std::printf("seed %llu: %d sentences are good declarations, %d without a word are none\n",
              static_cast<unsigned long long>(seed), good, broken);
  EXPECT_GT(good, 100);
  EXPECT_GT(broken, 1000);
}

}  // namespace
}  // namespace dipc::types_test
