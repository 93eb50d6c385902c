"""What only the built pages need: numbers in the prose, the page of all results, plotly's HTML."""
