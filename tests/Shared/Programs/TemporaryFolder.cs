namespace AllocTools.Testing;

/// <summary>A folder that is deleted at the end of the test.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("alloctools-test-").FullName;

    public string[] Files => [.. Directory.EnumerateFileSystemEntries(Path).Select(System.IO.Path.GetFileName).Order()!];

    /// <summary>Writes a file of random bytes.</summary>
    public string Write(string name, long length)
    {
        string path = System.IO.Path.Combine(Path, name);
        byte[] bytes = new byte[length];
        new Random(1).NextBytes(bytes);
        File.WriteAllBytes(path, bytes);
        return path;
    }

    /// <summary>Creates a file of zeros that takes no disk space, and is long enough to be interrupted.</summary>
    public string WriteSparse(string name, long length)
    {
        string path = System.IO.Path.Combine(Path, name);
        using FileStream file = File.Create(path);
        file.SetLength(length);
        return path;
    }

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
