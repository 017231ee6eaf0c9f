using System.Text.RegularExpressions;
using AllocTools.Hosting.Tests.Reference;
using AllocTools.Hosting.Tests.Support;
using AllocTools.HostMemory;
using AllocTools.Testing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using Newtonsoft.Json.Linq;
using NJsonSchema;
using Xunit;

namespace AllocTools.Hosting.Tests;

/// <summary>Tests that the schema of the package accepts what the start accepts, and refuses what the start refuses.</summary>
public sealed partial class SchemaTests
{
    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("""{ "AllocTools": { } }""")]
    [InlineData("""{ "$schema": "x", "Logging": { "LogLevel": { "Default": "None" } }, "AllocTools": { "MaxRegisteredBytes": "64 MiB" } }""")]
    [InlineData("""{ "AllocTools": { "MaxRegisteredBytes": 65536, "MaxSlabBytes": "128kib", "MaxIdleDirectBytes": "0 B" } }""")]
    [InlineData("""{ "AllocTools": { "SizeClasses": [ { "BlockSize": "16 KiB", "InitialBlocks": 2 }, { "BlockSize": 65536 } ] } }""")]
    [InlineData("""{ "AllocTools": { "SizeClassRange": { "From": 256, "To": "1 MiB", "StepsPerDoubling": 2 } } }""")]
    [InlineData("""{ "AllocTools": { "RentTimeout": "00:00:00.5", "TrimInterval": "-00:00:00.001", "DrainTimeout": "0:05" } }""")]
    [InlineData("""{ "AllocTools": { "RentTimeout": "never", "TrimInterval": "1.5 s", "DrainTimeout": "5min", "IdleRetention": "2h" } }""")]
    [InlineData("""{ "AllocTools": { "Access": "RemoteRead,RemoteWrite", "HugePages": "Off", "NumaNode": -1, "ClearOnReturn": true } }""")]
    [InlineData("""{ "AllocTools": { "Provider": { "Locking": "None" } } }""")]
    public async Task What_is_right(string json)
    {
        Assert.Empty(Check(json));
        Assert.Empty(await StartAsync(json));
    }

    [Theory]
    [InlineData("""{ "AllocTools": { "MaxRegisterdBytes": "64 MiB" } }""")]
    [InlineData("""{ "AllocTools": { "MaxRegisteredBytes": 12 } }""")]
    [InlineData("""{ "AllocTools": { "MaxRegisteredBytes": "64 MB" } }""")]
    [InlineData("""{ "AllocTools": { "MaxRegisteredBytes": 1.5 } }""")]
    [InlineData("""{ "AllocTools": { "SizeClasses": "64 KiB" } }""")]
    [InlineData("""{ "AllocTools": { "SizeClasses": [ { "BlockSize": 100 } ] } }""")]
    [InlineData("""{ "AllocTools": { "SizeClasses": [ { "BlockSize": 128, "Blocks": 1 } ] } }""")]
    [InlineData("""{ "AllocTools": { "SizeClassRange": { "StepsPerDoubling": 9 } } }""")]
    [InlineData("""{ "AllocTools": { "RentTimeout": 30 } }""")]
    [InlineData("""{ "AllocTools": { "RentTimeout": "30 moments" } }""")]
    [InlineData("""{ "AllocTools": { "HugePages": "2M" } }""")]
    [InlineData("""{ "AllocTools": { "Access": "RemoteRead | RemoteWrite" } }""")]
    [InlineData("""{ "AllocTools": { "ClearOnReturn": "perhaps" } }""")]
    [InlineData("""{ "AllocTools": { "Provider": { "Locked": "None" } } }""")]
    public async Task What_is_wrong(string json)
    {
        Assert.NotEmpty(Check(json));
        Assert.NotEmpty(await StartAsync(json));
    }

    [Fact]
    public void The_examples_of_the_documents_and_of_the_sample_are_right()
    {
        foreach (string document in new[] { "README.md", "docs/configuration.md" })
        {
            MatchCollection examples = JsonBlock().Matches(File.ReadAllText(Path.Combine(Repository.Root, document)));
            Assert.NotEmpty(examples);
            Assert.All(examples, example => Assert.Empty(Check(example.Groups[1].Value)));
        }
        Assert.Empty(Check(File.ReadAllText(Path.Combine(Repository.Root, "samples/WorkerService/appsettings.json"))));
    }

    private static IEnumerable<string> Check(string json)
    {
        JsonSchema schema = JsonSchema.FromJsonAsync(SchemaWriter.Schema(), Cancelled).GetAwaiter().GetResult();
        return schema.Validate(JToken.Parse(json, new JsonLoadSettings { CommentHandling = CommentHandling.Ignore })).Select(e => e.ToString());
    }

    private static async Task<IEnumerable<string>> StartAsync(string json)
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder(json);
        builder.Services.AddRmaMemoryPool<HostProvider>(builder.Configuration.GetSection("AllocTools"));
        using IHost host = builder.Build();
        try
        {
            await host.StartAsync(Cancelled);
            return [];
        }
        catch (OptionsValidationException e)
        {
            return e.Failures;
        }
    }

    [GeneratedRegex("```json\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex JsonBlock();
}
