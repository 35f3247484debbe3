"""Code that the provisioners share: configs, environments, output, files, processes and claim markers."""
