using System.Text.Json.Nodes;
using Xunit;

namespace AllocTools.Packages.Tests;

/// <summary>Tests that the package of the tool can be installed and run.</summary>
public sealed class ToolTests(Packed packed)
{
    [Fact]
    public async Task TheInstalledToolExaminesTheMachineAndMeasuresAPool()
    {
        string folder = packed.NewFolder("tool");
        await packed.SuccessAsync(folder, "dotnet tool install --tool-path tools --prerelease AllocTools.Tool");
        (int status, string output, string errors) = await packed.RunAsync(folder, "tools/alloctools doctor --json");
        // 1 means that this machine has a problem, which is not the tool's fault.
        Assert.True(status is 0 or 1, output + errors);
        JsonNode report = JsonNode.Parse(output)!;
        Assert.Equal(packed.Version, (string?)report["version"]);
        Assert.Equal(status, (int?)report["exitCode"]);
        Assert.NotEmpty(report["findings"]!.AsArray());

        (status, output, errors) = await packed.RunAsync(folder, "tools/alloctools bench pool --json --iterations 20 --warmup 5");
        Assert.True(status == 0, output + errors);
        JsonNode rows = JsonNode.Parse(output)!["rows"]!;
        Assert.NotEmpty(rows.AsArray());
        Assert.All(rows.AsArray(), row => Assert.Equal("rent/return", (string?)row!["test"]));
    }
}
