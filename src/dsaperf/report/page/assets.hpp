#pragma once

#include <string_view>

namespace dsaperf::report::page {

// Parts of the page that are files: embedded when the program is built.
std::string_view vega();    // Vega, Vega-Lite and Vega-Embed as one script
std::string_view style();   // page.css
std::string_view script();  // page.js

}  // namespace dsaperf::report::page
