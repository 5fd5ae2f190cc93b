"""What every implementation of an interface must do, whatever it is made of."""
