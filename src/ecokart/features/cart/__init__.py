"""The basket: what somebody means to buy, kept aside for two hours after the last change."""
