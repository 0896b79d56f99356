zspace export run -o map.html
