"""Language models: base class, vendors, mock, fallback chain and prices."""
