"""The story: an application that is moved to RIGHT and back, and the checkers' verdict."""
