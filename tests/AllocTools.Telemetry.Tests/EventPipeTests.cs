using System.Text.Json.Nodes;
using AllocTools.Telemetry.Tests.Support;
using Xunit;

namespace AllocTools.Telemetry.Tests;

/// <summary>Tests what dotnet-counters shows about a process of which it knows only the number.</summary>
public sealed class EventPipeTests
{
    [Fact]
    public async Task The_metrics_event_source_says_what_the_pools_say()
    {
        await using Drill drill = await Drill.StartAsync();
        foreach (string command in new[] { "hit 40", "miss 3", "fail 2", "hold 5", "write 6", "leak 1" })
            await drill.DoAsync(command);
        Dictionary<string, double> seen = await EventPipe.ReadAsync(drill.ProcessId);

        JsonObject pools = await drill.StatisticsAsync();
        foreach ((string pool, JsonNode? node) in pools)
        {
            string provider = pool == Drill.Pool ? "tcp;ofi_rxm" : "host";
            string tags = $"rma.pool.name={pool},rma.provider={provider}";
            Dictionary<string, double> expected = new()
            {
                [$"rma.pool.registrations {tags}"] = (double)node!["Registrations"]!,
                [$"rma.pool.limit {tags}"] = (double)node["LimitBytes"]!,
                [$"rma.pool.leaks {tags}"] = (double)node["Leaks"]!,
            };
            foreach (JsonNode? sizeClass in node["SizeClasses"]!.AsArray())
            {
                string ofClass = $"{tags},rma.size_class={sizeClass!["Name"]}";
                expected[$"rma.pool.hits {ofClass}"] = (double)sizeClass["Hits"]!;
                expected[$"rma.pool.misses {ofClass}"] = (double)sizeClass["Misses"]!;
                expected[$"rma.pool.buffer.count {ofClass},rma.state=rented"] = (double)sizeClass["RentedBuffers"]!;
            }
            foreach ((string series, double value) in expected)
                Assert.True(seen.TryGetValue(series, out double found) && found == value, $"{series}: {value}, seen: {string.Join('\n', seen)}");
        }
        Assert.Equal(2, seen["rma.pool.registration.failures error.type=ENOMEM,rma.pool.name=locked,rma.provider=host"]);
        Assert.Equal(6, seen["rma.endpoint.operations rma.operation=write,rma.pool.name=default,rma.provider=tcp;ofi_rxm"]);
    }
}
