namespace AllocTools;

/// <summary>Names the part of a program that rents, for reports of leaked buffers. Flows with asynchronous calls.</summary>
/// <remarks>
/// It is read only when a rent is watched (<see cref="RmaMemoryPoolOptions.LeakDetection"/>). Safe to use from any
/// thread.
/// </remarks>
public static class RmaOwner
{
    private static readonly AsyncLocal<string?> Tag = new();

    /// <summary>The current name; null if there is none.</summary>
    public static string? Current => Tag.Value;

    /// <summary>Sets the name until the result is disposed.</summary>
    /// <param name="name">The name of the owner, such as <c>gradients</c>.</param>
    public static IDisposable Begin(string name)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        var scope = new Scope(Tag.Value);
        Tag.Value = name;
        return scope;
    }

    private sealed class Scope(string? before) : IDisposable
    {
        public void Dispose() => Tag.Value = before;
    }
}
