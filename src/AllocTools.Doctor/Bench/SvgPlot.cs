using System.Globalization;
using System.Xml;
using Spectre.Console;

namespace AllocTools.Doctor.Bench;

/// <summary>Draws the report as a picture: bandwidth and the median time of a transfer over its size, with logarithmic axes.</summary>
internal static class SvgPlot
{
    private const double Width = 960, Height = 440, Left = 70, Top = 50, PanelWidth = 350, PanelHeight = 300, Between = 110;

    private static readonly (string Test, string Picture, Color Terminal)[] Colours =
    [
        (Measurements.Rent, "#7f7f7f", Color.Grey),
        (Measurements.Write, "#1f77b4", Color.Blue),
        (Measurements.Read, "#2ca02c", Color.Green),
        (Measurements.PingPong, "#d62728", Color.Red),
        (Measurements.Stream, "#ff7f0e", Color.Orange1),
        (Measurements.RoundTrip, "#9467bd", Color.Purple),
    ];

    /// <summary>Returns the colour of a test, in a picture and on a terminal.</summary>
    public static (string Picture, Color Terminal) ColourOf(string test) => Array.Find(Colours, c => c.Test == test) is { Test: not null } colour ? (colour.Picture, colour.Terminal) : ("#000000", Color.Default);

    /// <summary>Writes the picture.</summary>
    public static void Write(string path, IReadOnlyList<Row> rows, string title)
    {
        SvgSeries[] Series(Func<Row, bool> isShown, Func<Row, double> value) =>
            [.. rows.Where(isShown).GroupBy(static r => r.Test).Select(t => new SvgSeries(t.Key, ColourOf(t.Key).Picture, [.. t.Select(r => ((double)r.Bytes, value(r)))]))];
        // For rents, a rate in bytes would be meaningless.
        SvgPanel[] panels =
        [
            new("MB/sec", Series(static r => !Measurements.IsLocal(r.Test), static r => r.MegabytesPerSecond)),
            new("µs for a transfer, median", Series(static _ => true, static r => r.Latency.P50)),
        ];
        Write(path, title, panels, static bytes => Row.Short((int)bytes));
    }

    /// <summary>Writes a picture of up to two panels in a row, each with curves over one quantity, with logarithmic axes.</summary>
    public static void Write(string path, string title, IReadOnlyList<SvgPanel> panels, Func<double, string> textOfX)
    {
        (string Name, string Colour)[] legend = [.. panels.SelectMany(static p => p.Series).Select(static s => (s.Name, s.Colour)).Distinct()];
        bool isShort = legend.Length <= Colours.Length;
        double height = isShort ? Height : Height + (legend.Length - 1) / 2 * 18;
        using var xml = XmlWriter.Create(path, new XmlWriterSettings { Indent = true });
        xml.WriteStartElement("svg", "http://www.w3.org/2000/svg");
        Attributes(xml, ("width", Width), ("height", height));
        xml.WriteAttributeString("viewBox", string.Create(CultureInfo.InvariantCulture, $"0 0 {Width} {height}"));
        xml.WriteAttributeString("font-family", "sans-serif");
        xml.WriteAttributeString("font-size", "12");
        xml.WriteStartElement("rect");
        Attributes(xml, ("width", Width), ("height", height));
        xml.WriteAttributeString("fill", "white");
        xml.WriteEndElement();
        Text(xml, Width / 2, 22, "middle", title);
        for (int i = 0; i < panels.Count; i++)
            Panel(xml, Left + i * (PanelWidth + Between), panels[i], textOfX);
        for (int i = 0; i < legend.Length; i++)
        {
            // A few short names are placed in a row, many in two columns.
            (double x, double y) = isShort ? (Left + i * 120, Height - 30) : (Left + i % 2 * (PanelWidth + Between), Height - 30 + i / 2 * 18);
            xml.WriteStartElement("rect");
            Attributes(xml, ("x", x), ("y", y), ("width", 12), ("height", 12));
            xml.WriteAttributeString("fill", legend[i].Colour);
            xml.WriteEndElement();
            Text(xml, x + 18, y + 10, "start", legend[i].Name);
        }
        xml.WriteEndElement();
    }

    private static void Panel(XmlWriter xml, double left, SvgPanel panel, Func<double, string> textOfX)
    {
        Text(xml, left + PanelWidth / 2, Top - 8, "middle", panel.Title);
        xml.WriteStartElement("rect");
        Attributes(xml, ("x", left), ("y", Top), ("width", PanelWidth), ("height", PanelHeight));
        xml.WriteAttributeString("fill", "none");
        xml.WriteAttributeString("stroke", "#888888");
        xml.WriteEndElement();
        (double X, double Y)[] points = [.. panel.Series.SelectMany(static s => s.Points)];
        if (points.Length == 0)
            return;
        (double first, double last) = (Math.Log2(points.Min(static p => p.X)), Math.Log2(points.Max(static p => p.X)));
        double Floor(double v) => Math.Floor(Math.Log10(Math.Max(v, 1e-6)));
        (double low, double high) = (Floor(points.Min(static p => p.Y)), Floor(points.Max(static p => p.Y)) + 1);
        double X(double x) => left + (last == first ? PanelWidth / 2 : (Math.Log2(x) - first) / (last - first) * PanelWidth);
        double Y(double v) => Top + PanelHeight - (Math.Log10(Math.Max(v, 1e-6)) - low) / (high - low) * PanelHeight;
        for (double power = low; power <= high; power++)
        {
            double y = Y(Math.Pow(10, power));
            Line(xml, left, y, left + PanelWidth, y, "#dddddd");
            Text(xml, left - 6, y + 4, "end", Math.Pow(10, power).ToString("0.######", CultureInfo.InvariantCulture));
        }
        foreach (double x in points.Select(static p => p.X).Distinct())
            Text(xml, X(x), Top + PanelHeight + 16, "middle", textOfX(x));
        foreach (SvgSeries series in panel.Series)
        {
            xml.WriteStartElement("polyline");
            xml.WriteAttributeString("points", string.Join(' ', series.Points.Select(p => string.Create(CultureInfo.InvariantCulture, $"{X(p.X):0.0},{Y(p.Y):0.0}"))));
            xml.WriteAttributeString("fill", "none");
            xml.WriteAttributeString("stroke", series.Colour);
            xml.WriteAttributeString("stroke-width", "2");
            xml.WriteEndElement();
            foreach ((double x, double y) in series.Points)
            {
                xml.WriteStartElement("circle");
                Attributes(xml, ("cx", X(x)), ("cy", Y(y)), ("r", 3));
                xml.WriteAttributeString("fill", series.Colour);
                xml.WriteElementString("title", "http://www.w3.org/2000/svg", string.Create(CultureInfo.InvariantCulture, $"{series.Name}, {textOfX(x)}: {y:0.###}"));
                xml.WriteEndElement();
            }
        }
    }

    private static void Line(XmlWriter xml, double x1, double y1, double x2, double y2, string colour)
    {
        xml.WriteStartElement("line");
        Attributes(xml, ("x1", x1), ("y1", y1), ("x2", x2), ("y2", y2));
        xml.WriteAttributeString("stroke", colour);
        xml.WriteEndElement();
    }

    private static void Text(XmlWriter xml, double x, double y, string anchor, string text)
    {
        xml.WriteStartElement("text");
        Attributes(xml, ("x", x), ("y", y));
        xml.WriteAttributeString("text-anchor", anchor);
        xml.WriteString(text);
        xml.WriteEndElement();
    }

    private static void Attributes(XmlWriter xml, params ReadOnlySpan<(string Name, double Value)> attributes)
    {
        foreach ((string name, double value) in attributes)
            xml.WriteAttributeString(name, value.ToString("0.##", CultureInfo.InvariantCulture));
    }
}

/// <summary>Curves over one quantity.</summary>
internal sealed record SvgPanel(string Title, IReadOnlyList<SvgSeries> Series);

/// <summary>A curve, with its colour in SVG's notation.</summary>
internal sealed record SvgSeries(string Name, string Colour, IReadOnlyList<(double X, double Y)> Points);
