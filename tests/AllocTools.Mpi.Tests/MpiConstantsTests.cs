using System.Collections.Frozen;
using System.Text;
using AllocTools.Mpi.Interop;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Mpi.Tests;

/// <summary>
/// Compares the constants, layouts and handles with those of each mpi.h, as a C program that is compiled against it
/// reports them.
/// </summary>
public sealed class MpiConstantsTests
{
    [Theory]
    [InlineData(MpiImplementation.OpenMpi, "mpicc.openmpi")]
    [InlineData(MpiImplementation.Mpich, "mpicc.mpich")]
    public async Task TheyAreThoseOfTheHeader(MpiImplementation implementation, string compiler)
    {
        MpiConstants constants = implementation == MpiImplementation.OpenMpi ? MpiConstants.OpenMpi : MpiConstants.Mpich;
        Dictionary<string, string> found = await RunAsync(compiler, Source(implementation, constants));
        Dictionary<string, string> expected = new()
        {
            ["sizeof(MPI_Request)"] = $"{constants.HandleSize}",
            ["sizeof(MPI_Message)"] = $"{constants.HandleSize}",
            ["sizeof(MPI_Win)"] = $"{constants.HandleSize}",
            ["sizeof(MPI_Aint)"] = "8",
            ["sizeof(MPI_Status)"] = $"{constants.StatusSize}",
            ["offsetof(MPI_Status, MPI_SOURCE)"] = $"{constants.StatusSource}",
            ["offsetof(MPI_Status, MPI_TAG)"] = $"{constants.StatusTag}",
            ["offsetof(MPI_Status, MPI_ERROR)"] = $"{constants.StatusError}",
            [nameof(constants.MPI_STATUS_IGNORE)] = $"{constants.MPI_STATUS_IGNORE}",
            [nameof(constants.MPI_ANY_SOURCE)] = $"{constants.MPI_ANY_SOURCE}",
            [nameof(constants.MPI_TAG_UB)] = $"{constants.MPI_TAG_UB}",
            [nameof(constants.MPI_WIN_MODEL)] = $"{constants.MPI_WIN_MODEL}",
            [nameof(constants.MPI_WIN_UNIFIED)] = $"{constants.MPI_WIN_UNIFIED}",
            [nameof(constants.MPI_MAX_ERROR_STRING)] = $"{constants.MPI_MAX_ERROR_STRING}",
            [nameof(constants.MPI_MAX_LIBRARY_VERSION_STRING)] = $"{constants.MPI_MAX_LIBRARY_VERSION_STRING}",
            [nameof(constants.MPI_ERR_RMA_ATTACH)] = $"{constants.MPI_ERR_RMA_ATTACH}",
            [nameof(constants.MPI_ERR_IN_STATUS)] = $"{constants.MPI_ERR_IN_STATUS}",
            [nameof(MpiConstants.MPI_ANY_TAG)] = $"{MpiConstants.MPI_ANY_TAG}",
            [nameof(MpiConstants.MPI_UNDEFINED)] = $"{MpiConstants.MPI_UNDEFINED}",
            [nameof(MpiConstants.MPI_THREAD_MULTIPLE)] = $"{MpiConstants.MPI_THREAD_MULTIPLE}",
            [nameof(MpiConstants.MPI_SUCCESS)] = $"{MpiConstants.MPI_SUCCESS}",
        };
        foreach ((int number, string name) in constants.ErrorClasses)
            expected[name] = $"{number}";
        foreach ((string name, string handle) in HandlesOf(constants))
            expected["handle " + name] = implementation == MpiImplementation.OpenMpi ? "1" : handle;
        Assert.Equal(expected.OrderBy(static e => e.Key, StringComparer.Ordinal), found.OrderBy(static f => f.Key, StringComparer.Ordinal));
    }

    private static FrozenDictionary<string, string> HandlesOf(MpiConstants constants) => new Dictionary<string, string>
    {
        [nameof(MpiHandleNames.MPI_COMM_WORLD)] = constants.Handles.MPI_COMM_WORLD,
        [nameof(MpiHandleNames.MPI_COMM_SELF)] = constants.Handles.MPI_COMM_SELF,
        [nameof(MpiHandleNames.MPI_BYTE)] = constants.Handles.MPI_BYTE,
        [nameof(MpiHandleNames.MPI_INFO_NULL)] = constants.Handles.MPI_INFO_NULL,
        [nameof(MpiHandleNames.MPI_ERRORS_RETURN)] = constants.Handles.MPI_ERRORS_RETURN,
    }.ToFrozenDictionary();

    private static string Source(MpiImplementation implementation, MpiConstants constants)
    {
        StringBuilder text = new("""
            #include <mpi.h>
            #include <stddef.h>
            #include <stdio.h>
            #define P(x) printf("%s=%lld\n", #x, (long long)(x))
            int main(void) {
            P(sizeof(MPI_Request)); P(sizeof(MPI_Message)); P(sizeof(MPI_Win)); P(sizeof(MPI_Aint)); P(sizeof(MPI_Status));
            P(offsetof(MPI_Status, MPI_SOURCE)); P(offsetof(MPI_Status, MPI_TAG)); P(offsetof(MPI_Status, MPI_ERROR));
            printf("MPI_STATUS_IGNORE=%lld\n", (long long)MPI_STATUS_IGNORE);
            P(MPI_ANY_SOURCE); P(MPI_TAG_UB); P(MPI_WIN_MODEL); P(MPI_WIN_UNIFIED); P(MPI_MAX_ERROR_STRING); P(MPI_MAX_LIBRARY_VERSION_STRING);
            P(MPI_ANY_TAG); P(MPI_UNDEFINED); P(MPI_THREAD_MULTIPLE); P(MPI_SUCCESS);

            """);
        foreach (string name in constants.ErrorClasses.Values)
            text.AppendLine($"P({name});");
        foreach ((string name, string handle) in HandlesOf(constants))
        {
            // Open MPI's mpi.h declares its symbols.
            text.AppendLine(implementation == MpiImplementation.OpenMpi
                ? $"printf(\"handle {name}=%d\\n\", (void*){name} == (void*)&{handle});"
                : $"printf(\"handle {name}=0x%x\\n\", (unsigned){name});");
        }
        return text + "return 0; }\n";
    }

    private static async Task<Dictionary<string, string>> RunAsync(string compiler, string source)
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory("alloctools-mpi-");
        try
        {
            string file = Path.Combine(folder.FullName, "constants.c");
            string program = Path.Combine(folder.FullName, "constants");
            await File.WriteAllTextAsync(file, source);
            (int exitCode, string output) = await MpiRanks.RunAsync([compiler, "-w", file, "-o", program], TestTime.Seconds(60));
            Assert.True(exitCode == 0, output + source);
            (exitCode, output) = await MpiRanks.RunAsync([program], TestTime.Seconds(60));
            Assert.True(exitCode == 0, output);
            return output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(static l => l.Split('=', 2)).ToDictionary(static p => p[0], static p => p[1]);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }
}
