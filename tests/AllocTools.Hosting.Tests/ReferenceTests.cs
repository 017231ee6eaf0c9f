using AllocTools.Hosting.Tests.Reference;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Hosting.Tests;

/// <summary>Tests that the documents and the schema say the same about the options as the code.</summary>
public sealed class ReferenceTests
{
    [Fact]
    public void The_table_of_the_pool_is_that_of_the_code() => AssertTable("pool", TableWriter.Table(KeyReference.Pool));

    [Fact]
    public void The_table_of_libfabric_is_that_of_the_code() => AssertTable("libfabric", TableWriter.Table(KeyReference.Libfabric));

    [Fact]
    public void The_table_of_page_locked_memory_is_that_of_the_code() => AssertTable("host", TableWriter.Table(KeyReference.Host));

    [Fact]
    public void The_table_of_ucx_is_that_of_the_code() => AssertTable("ucx", TableWriter.Table(KeyReference.Ucx));

    [Fact]
    public void The_table_of_MPI_is_that_of_the_code() => AssertTable("mpi", TableWriter.Table(KeyReference.Mpi));

    [Fact]
    public void The_table_of_connections_is_that_of_the_code() => AssertTable("connections", TableWriter.Table(KeyReference.Connections));

    [Fact]
    public void The_table_of_the_directory_is_that_of_the_code() => AssertTable("directory", TableWriter.Table(KeyReference.Directory.Concat(KeyReference.Redis)));

    [Fact]
    public void The_table_of_multi_rails_is_that_of_the_code() => AssertTable("multi-rail", TableWriter.Table(KeyReference.MultiRail));

    [Fact]
    public void The_table_of_log_events_is_that_of_the_code() => AssertTable("events", EventWriter.Table());

    [Fact]
    public void Ids_of_log_events_are_used_once()
    {
        string[] ids = [.. EventWriter.Table().Skip(2).Select(row => row.Split(' ')[1])];
        Assert.NotEmpty(ids);
        Assert.Equal(ids.Distinct(), ids);
    }

    [Fact]
    public void The_schema_is_that_of_the_code()
    {
        string schema = SchemaWriter.Schema();
        string found = File.ReadAllText(Path.Combine(Repository.Root, "src/AllocTools.Hosting/ConfigurationSchema.json"));
        Assert.True(schema == found, $"src/AllocTools.Hosting/ConfigurationSchema.json should be:\n{schema}");
    }

    private static void AssertTable(string name, IEnumerable<string> table)
    {
        string[] lines = File.ReadAllLines(Path.Combine(Repository.Root, "docs/configuration.md"));
        int start = Array.IndexOf(lines, $"<!-- {name} -->") + 1;
        Assert.True(start > 0, $"docs/configuration.md has no line '<!-- {name} -->' before its table.");
        string[] found = [.. lines.Skip(start).SkipWhile(l => l.Length == 0).TakeWhile(l => l.StartsWith('|'))];
        string[] expected = [.. table];
        Assert.True(expected.SequenceEqual(found), $"The table '{name}' of docs/configuration.md should be:\n{string.Join('\n', expected)}");
    }
}
