namespace AllocTools.Testing;

/// <summary>
/// How much of what is combinatorial is run: what shows each fault of up to three settings together, or everything, which takes
/// many times as long and which <c>eng/test --full</c> asks for.
/// </summary>
public static class TestExtent
{
    public static bool IsFull { get; } = Environment.GetEnvironmentVariable("ALLOCTOOLS_FULL") is "1";
}
