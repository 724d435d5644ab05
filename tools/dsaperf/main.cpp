#include <CLI/CLI.hpp>

int main(int argc, char** argv) {
  CLI::App app("Analyse, run, profile, predict and measure DeepSeek Sparse Attention");
  app.require_subcommand(1);
  CLI11_PARSE(app, argc, argv);
  return 0;
}
