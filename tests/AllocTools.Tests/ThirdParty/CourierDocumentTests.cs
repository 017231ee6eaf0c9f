using AllocTools.Testing;
using Xunit;

namespace AllocTools.Tests.ThirdParty;

/// <summary>Checks that docs/providers.md shows the driver that passes the suite, unchanged, in less than 200 lines.</summary>
public sealed class CourierDocumentTests
{
    [Fact]
    public void TheDocumentShowsTheDriverThatPassesTheSuite()
    {
        string code = File.ReadAllText(Path.Combine(Repository.Root, "tests/AllocTools.Courier/CourierProvider.cs"));
        Assert.InRange(code.Count(c => c == '\n'), 100, 199);
        Assert.Contains($"```csharp\n{code}```\n", File.ReadAllText(Path.Combine(Repository.Root, "docs/providers.md")), StringComparison.Ordinal);
    }
}
