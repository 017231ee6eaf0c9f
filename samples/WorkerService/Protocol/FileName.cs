using System.Text;

namespace WorkerService.Protocol;

/// <summary>The names that a file may have on its way: one that names a file right in the output directory, on any system.</summary>
internal static class FileName
{
    /// <summary>What is wrong with a name; null where nothing is.</summary>
    public static string? FindError(string name) =>
        name.Length == 0 ? "is empty"
        : name is "." or ".." ? "is a directory"
        : name.AsSpan().ContainsAny('/', '\\', ':') ? "has a separator in it"
        : name.Any(char.IsControl) ? "has a control character in it"
        : name.AsSpan().ContainsAny(Path.GetInvalidFileNameChars()) ? "has a character in it that this system doesn't take"
        : Encoding.UTF8.GetByteCount(name) > WireFormat.MaxFileNameLength ? $"is longer than {WireFormat.MaxFileNameLength} bytes"
        : null;
}
