return await AllocTools.Doctor.AllocToolsCommand.RunAsync(args).ConfigureAwait(false);
