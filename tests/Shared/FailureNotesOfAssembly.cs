[assembly: AllocTools.Testing.FailureNotes]
