"""Alert packets of Rubin and ZTF: read, scored by the same code as any DIA source, and put into a butler."""
