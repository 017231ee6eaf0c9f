namespace AllocTools.Testing;

/// <summary>
/// How much of the combinatorial tests is run: enough to show each fault that involves up to three settings, or everything,
/// which takes many times as long and which <c>eng/test --full</c> asks for.
/// </summary>
public static class TestExtent
{
    public static bool IsFull { get; } = Environment.GetEnvironmentVariable("ALLOCTOOLS_FULL") is "1";
}
