namespace AllocTools.Testing;

/// <summary>The files that the tests are built from.</summary>
internal static class Repository
{
    /// <summary>The folder with the solution, above the tests' own.</summary>
    public static string Root { get; } = Find();

    private static string Find()
    {
        DirectoryInfo? folder = new(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "AllocTools.sln")))
            folder = folder.Parent;
        return folder?.FullName ?? throw new InvalidOperationException($"There is no AllocTools.sln above {AppContext.BaseDirectory}.");
    }
}
