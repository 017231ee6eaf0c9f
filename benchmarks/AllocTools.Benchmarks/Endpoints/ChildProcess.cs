using System.Diagnostics;
using System.Runtime.Versioning;

namespace AllocTools.Benchmarks.Endpoints;

/// <summary>A process that communicates line by line. It ends with its standard input.</summary>
internal sealed class ChildProcess : IDisposable
{
    private static readonly TimeSpan LongestAnswer = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan LongestEnd = TimeSpan.FromSeconds(5);

    private readonly Process _process;

    public ChildProcess(string program, IEnumerable<string> arguments)
    {
        ProcessStartInfo start = new(program, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true };
        _process = Process.Start(start)!;
    }

    /// <summary>Keeps the process's main thread on one of the processors that this process may use, if there are enough.</summary>
    [SupportedOSPlatform("linux")]
    public void Pin(int number)
    {
        using Process self = Process.GetCurrentProcess();
        nint allowed = self.ProcessorAffinity;
        for (int bit = 0; bit < nint.Size * 8; bit++)
        {
            nint processor = (nint)1 << bit;
            if ((allowed & processor) != 0 && number-- == 0)
                _process.ProcessorAffinity = processor;
        }
    }

    public void Say(string line)
    {
        _process.StandardInput.WriteLine(line);
        _process.StandardInput.Flush();
    }

    public string Hear()
    {
        Task<string?> line = _process.StandardOutput.ReadLineAsync();
        if (!line.Wait(LongestAnswer))
            throw new TimeoutException($"{_process.StartInfo.FileName} has not answered within {LongestAnswer.TotalSeconds} s.");
        return line.Result ?? throw new InvalidOperationException($"{_process.StartInfo.FileName} has ended.");
    }

    public string Ask(string line)
    {
        Say(line);
        return Hear();
    }

    public void Dispose()
    {
        _process.StandardInput.Close();
        if (!_process.WaitForExit(LongestEnd))
            _process.Kill();
        _process.Dispose();
    }
}
